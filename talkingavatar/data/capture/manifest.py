"""What `capture.json` says: whose capture, and which of its frames are for what."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from talkingavatar.errors import UserError

FORMAT, VERSION = "talkingavatar-capture", 1


@dataclass(frozen=True)
class Manifest:
    """What `capture.json` says."""

    name: str
    fps: float
    width: int
    height: int
    frames: int
    train: tuple[int, int, int]  # start, stop, step of the frames trained on
    test: tuple[int, int, int]  # of the held-out frames
    # Checksums of the models that the tables "smplx" and "flame" were tracked with.
    body: dict[str, str] = field(default_factory=dict)
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    provenance: dict[str, Any] = field(default_factory=dict)
    shots: list[tuple[int, int]] = field(default_factory=list)  # start, stop of each; one of all frames if not given
    unusable: list[int] = field(default_factory=list)  # frames left out of both parts: nobody, or nobody's face, seen
    format: str = FORMAT
    version: int = VERSION

    def __post_init__(self) -> None:
        if not self.shots:
            object.__setattr__(self, "shots", [(0, self.frames)])

    def write(self, folder: Path) -> None:
        (folder / "capture.json").write_text(json.dumps(asdict(self), indent=1))


def paper_split(frames: int, heldout: float, stride: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The paper's rule: every `stride`-th frame of the first part is trained on, the tail is held out.

    The end is exclusive, unlike in the published loader, where one frame lies in both parts.
    """
    start = max(1, min(frames - 1, round(frames * (1 - heldout))))
    return (0, start, stride), (start, frames, 1)


def read_manifest(folder: Path) -> Manifest:
    file = folder / "capture.json"
    if not file.is_file():
        found = "no such folder" if not folder.is_dir() else "a folder without capture.json"
        raise UserError("data.path", f"{folder}: {found}", "a capture", "give a folder written by preprocess")
    try:
        content = json.loads(file.read_text())
        splits = {part: tuple(content[part]) for part in ("train", "test")}
        background = tuple(float(v) for v in content["background"])
        shots = [(int(start), int(stop)) for start, stop in content.get("shots", [])]
        fps = float(content["fps"])
        manifest = Manifest(**{**content, **splits, "fps": fps, "background": background, "shots": shots})
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            str(file), f"{type(error).__name__}: {error}", "a capture's manifest", "make it again"
        ) from error
    if (manifest.format, manifest.version) != (FORMAT, VERSION):
        found = f"{manifest.format} version {manifest.version}"
        raise UserError(str(file), found, f"{FORMAT} version {VERSION}", "make the capture again")
    edges = [0, *(stop for _, stop in manifest.shots)]
    if edges[-1] != manifest.frames or manifest.shots != list(pairwise(edges)):
        found = f"{manifest.shots}"
        raise UserError(f"{file}:shots", found, f"shots that cover 0 to {manifest.frames}", "make the capture again")
    if not usable(manifest, manifest.train) or not usable(manifest, manifest.test):
        raise UserError(f"{file}:train, test", "an empty split", "frames in both parts", "give a longer clip")
    return manifest


def usable(manifest: Manifest, part: tuple[int, int, int]) -> list[int]:
    left_out = set(manifest.unusable)
    return [frame for frame in range(*part) if frame not in left_out]
