"""What `capture.json` says: whose capture, which cameras saw it, and which of its frames are for what."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from talkingavatar.data.stated import Stated, read_json, shown
from talkingavatar.errors import UserError

FORMAT, VERSION = "talkingavatar-capture", 2
FRONT = "front"  # the view of a capture with one camera
VIEW_NAME = re.compile(r"\w[\w.+-]*")  # folders are called so
AGAIN = "make the capture again, with preprocess or import_capture"
MOST_FRAMES, LARGEST_SIDE = 10_000_000, 32_768


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
    stated = Stated(str(file), read_json(file, AGAIN), AGAIN)
    found = " version ".join(shown(stated.of(key).value).strip('"') for key in ("format", "version"))
    if found != f"{FORMAT} version {VERSION}":
        raise UserError(str(file), found, f"{FORMAT} version {VERSION}", AGAIN)
    known = [f.name for f in fields(Manifest)]
    if unknown := [name for name in stated.names() if name not in known]:
        near = get_close_matches(unknown[0], known, n=1, cutoff=0.5)
        raise UserError(f"{file}:{unknown[0]}", "an unknown name", ", ".join(known),
                        f"did you mean {near[0]}?" if near else AGAIN)  # fmt: skip
    manifest = _manifest(stated)
    _check(manifest, file)
    return manifest


def _manifest(stated: Stated) -> Manifest:
    """What is stated, in the types that the manifest has; each value for itself in its range."""
    frames = stated.of("frames").whole(1, MOST_FRAMES)
    parts = {part: _spans(stated.of(part), frames) for part in ("train", "test")}
    width, height = (stated.of(side).whole(1, LARGEST_SIDE) for side in ("width", "height"))
    given: dict[str, Any] = {}
    if stated.has("shots"):
        given["shots"] = [_shot(shot, frames) for shot in stated.of("shots").entries()]
    if stated.has("unusable"):
        given["unusable"] = [frame.whole(0, frames - 1) for frame in stated.of("unusable").entries()]
    for key in ("views", "test_views"):
        if stated.has(key):
            given[key] = [view.text() for view in stated.of(key).entries()]
    if stated.has("background"):
        red, green, blue = _numbers(stated.of("background"), 3)
        given["background"] = red.number(0, 1), green.number(0, 1), blue.number(0, 1)
    if stated.has("body"):
        given["body"] = {model: stated.of("body").of(model).text() for model in stated.of("body").names()}
    if stated.has("provenance"):
        stated.of("provenance").names()
        given["provenance"] = stated.of("provenance").value
    fps = stated.of("fps").number(0.1, 1000)
    return Manifest(stated.of("name").text(), fps, width, height, frames, parts["train"], parts["test"], **given)


def _spans(stated: Stated, frames: int) -> list[Span]:
    expected, spans = f"start, stop, step of frames 0 to {frames}", []
    for entry in stated.entries():
        named = replace(entry, place=stated.place)
        start, stop, step = (number.whole() for number in _numbers(named, 3, expected))
        if not 0 <= start < stop <= frames or step < 1:
            raise named.wrong(expected)
        spans.append(Span(start, stop, step))
    return spans


def _shot(stated: Stated, frames: int) -> tuple[int, int]:
    start, stop = _numbers(stated, 2)
    return start.whole(0, frames), stop.whole(0, frames)


def _numbers(stated: Stated, count: int, expected: str = "") -> list[Stated]:
    found = stated.entries()
    if len(found) != count:
        raise stated.wrong(expected or f"{count} numbers")
    return found


def _check(manifest: Manifest, file: Path) -> None:
    """What is stated goes together."""
    frames, views = manifest.frames, manifest.views
    edges = [0, *(stop for _, stop in manifest.shots)]
    if edges[-1] != frames or manifest.shots != list(pairwise(edges)) or len(set(edges)) < len(edges):
        raise UserError(f"{file}:shots", shown(manifest.shots), f"shots that cover 0 to {frames}", AGAIN)
    if both := set(manifest.usable(manifest.train)) & set(manifest.usable(manifest.test)):
        raise UserError(f"{file}:train, test", f"frame {min(both)} in both", "parts without common frames", AGAIN)
    if not manifest.usable(manifest.train) or not manifest.usable(manifest.test):
        raise UserError(f"{file}:train, test", "an empty split", "frames in both parts", "give a longer clip")
    if not views or len(set(views)) < len(views) or not all(VIEW_NAME.fullmatch(view) for view in views):
        raise UserError(f"{file}:views", shown(views), "names of cameras, each once", AGAIN)
    if unknown := set(manifest.test_views) - set(views[1:]):
        expected = f"some of {', '.join(views[1:]) or 'no views'}, the first view left out"
        raise UserError(f"{file}:test_views", ", ".join(sorted(unknown)), expected, AGAIN)
