"""What `capture.json` says: whose capture, which cameras saw it, and which of its frames are for what."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from talkingavatar.errors import UserError

FORMAT, VERSION = "talkingavatar-capture", 2
FRONT = "front"  # the view of a capture with one camera
VIEW_NAME = re.compile(r"\w[\w.+-]*")  # folders are called so
AGAIN = "make the capture again, with preprocess or import_capture"


class Span(NamedTuple):
    """Every `step`-th frame from start to stop, which is exclusive."""

    start: int
    stop: int
    step: int = 1

    @property
    def frames(self) -> range:
        return range(*self)


@dataclass(frozen=True)
class Manifest:
    """What `capture.json` says."""

    name: str
    fps: float
    width: int
    height: int
    frames: int
    train: list[Span]  # frames trained on
    test: list[Span]  # held-out frames
    views: list[str] = field(default_factory=lambda: [FRONT])  # cameras, in the order of cameras.npz; the first is main
    test_views: list[str] = field(default_factory=list)  # those of them that are never trained on
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

    def usable(self, part: Sequence[Span]) -> list[int]:
        """The frames of a part, span after span."""
        left_out = set(self.unusable)
        return [frame for span in part for frame in span.frames if frame not in left_out]

    def inside(self, part: Sequence[Span]) -> Bool[ndarray, " T"]:
        """Which frames lie in a part, those its steps pass over as well, and are usable."""
        found = np.zeros(self.frames, dtype=bool)
        for span in part:
            found[span.start : span.stop] = True
        found[self.unusable] = False
        return found


def paper_split(frames: int, heldout: float, stride: int) -> tuple[Span, Span]:
    """The paper's rule: every `stride`-th frame of the first part is trained on, the tail is held out.

    The end is exclusive, unlike in the published loader, where one frame lies in both parts.
    """
    start = max(1, min(frames - 1, round(frames * (1 - heldout))))
    return Span(0, start, stride), Span(start, frames)


def read_manifest(folder: Path) -> Manifest:
    """
    Raises:
        UserError: there is none, it is of another version, or what it says does not go together.
    """
    file = folder / "capture.json"
    if not file.is_file():
        found = "no such folder" if not folder.is_dir() else "a folder without capture.json"
        raise UserError("data.path", f"{folder}: {found}", "a capture", "give a folder written by preprocess")
    try:
        content = json.loads(file.read_text())
        found = f"{content.get('format')} version {content.get('version')}"
        if found != f"{FORMAT} version {VERSION}":
            raise UserError(str(file), found, f"{FORMAT} version {VERSION}", AGAIN)
        manifest = _manifest(content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(str(file), f"{type(error).__name__}: {error}", "a capture's manifest", AGAIN) from error
    _check(manifest, file)
    return manifest


def _manifest(content: dict[str, Any]) -> Manifest:
    """Lists as JSON has them in the types that the manifest has."""
    parts = {part: [Span(*map(int, span)) for span in content[part]] for part in ("train", "test")}
    typed: dict[str, Any] = {
        "fps": float(content["fps"]),
        "background": tuple(float(v) for v in content["background"]),
        "shots": [(int(start), int(stop)) for start, stop in content.get("shots", [])],
    }
    return Manifest(**{**content, **parts, **typed})


def _check(manifest: Manifest, file: Path) -> None:
    frames, views = manifest.frames, manifest.views
    edges = [0, *(stop for _, stop in manifest.shots)]
    if edges[-1] != frames or manifest.shots != list(pairwise(edges)):
        raise UserError(f"{file}:shots", f"{manifest.shots}", f"shots that cover 0 to {frames}", AGAIN)
    for part in ("train", "test"):
        for span in getattr(manifest, part):
            if not 0 <= span.start < span.stop <= frames or span.step < 1:
                expected = f"start, stop, step of frames 0 to {frames}"
                raise UserError(f"{file}:{part}", f"{list(span)}", expected, AGAIN)
    if both := set(manifest.usable(manifest.train)) & set(manifest.usable(manifest.test)):
        raise UserError(f"{file}:train, test", f"frame {min(both)} in both", "parts without common frames", AGAIN)
    if not manifest.usable(manifest.train) or not manifest.usable(manifest.test):
        raise UserError(f"{file}:train, test", "an empty split", "frames in both parts", "give a longer clip")
    if not views or len(set(views)) < len(views) or not all(VIEW_NAME.fullmatch(view) for view in views):
        raise UserError(f"{file}:views", f"{views}", "names of cameras, each once", AGAIN)
    if unknown := set(manifest.test_views) - set(views[1:]):
        expected = f"some of {', '.join(views[1:]) or 'no views'}, the first view left out"
        raise UserError(f"{file}:test_views", ", ".join(sorted(unknown)), expected, AGAIN)
