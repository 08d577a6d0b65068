"""What a landmark source is and what it leaves behind: keypoints, coarse masks, facial actions.

A source looks at a clip once, frame by frame, and answers in pixels of the frames it was given. `observe` brings
that to the capture's pixels and writes it to a folder; `Observed` reads it back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.preprocessing.keypoints import Keypoints
from talkingavatar.preprocessing.landmarks.steady_masks import SteadyMasks

ProgressFunction = Callable[[str, int], Callable[[], None]]


@runtime_checkable  # while tests run, annotations are checked
class Pictures(Protocol):
    """What a source needs of a clip (`clip.Clip` has it)."""

    frames: int
    width: int
    height: int
    shots: list[tuple[int, int]]

    @property
    def to_capture(self) -> tuple[float, float, float, float]:
        """scale_x, scale_y, offset_x, offset_y to the capture's pixels."""

    def source_frames(self, start: int = 0) -> Iterator[UInt8[ndarray, "h w 3"]]: ...


@dataclass(frozen=True)
class Actions:
    """Facial action intensities, for a capture's table of that name; NaN where the face was not tracked."""

    names: list[str]
    values: Float[ndarray, "T A"]
    scale: float = 1.0  # the value of the strongest


@dataclass(frozen=True)
class Seen:
    """A source's answer.

    Args:
        masks: a coarse person mask per frame, of any one size, spanning the picture.
        believed: how its files were read (order, unit, rate, which person), for the capture's provenance.
        warnings: what had to be guessed, a line each.
    """

    keypoints: Keypoints
    masks: UInt8[ndarray, "T h w"] | None = None
    actions: Actions | None = None
    believed: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@runtime_checkable
class LandmarkSource(Protocol):
    """An adapter. Its name, version and options belong in a stage's stamp."""

    name: str
    version: int

    def detect(self, clip: Pictures, folder: Path, progress: ProgressFunction) -> Seen:
        """Look at every frame; `folder` may keep whole pieces of work for an interrupted call to continue from.

        Raises:
            UserError: it cannot run, or its files do not fit the clip.
        """


def observe(source: LandmarkSource, clip: Pictures, folder: Path, progress: ProgressFunction) -> None:
    """Run a source and write keypoints.npz, masks.npy and actions.npz (what there is) to `folder`."""
    pieces = folder / "pieces"
    pieces.mkdir(parents=True, exist_ok=True)
    seen = source.detect(clip, pieces, progress)
    placed(seen.keypoints, clip.to_capture).save(folder / "keypoints.npz")
    if seen.masks is not None:
        np.save(folder / "masks.npy", seen.masks)
    if seen.actions is not None:
        arrays = vars(seen.actions) | {"names": np.array(seen.actions.names)}
        np.savez(folder / "actions.npz", allow_pickle=False, **arrays)
    (folder / "source.json").write_text(
        json.dumps({"source": source.name, "version": source.version, "warnings": list(seen.warnings), **seen.believed})
    )
    for piece in pieces.iterdir():
        piece.unlink()
    pieces.rmdir()


def placed(keypoints: Keypoints, to_capture: tuple[float, float, float, float]) -> Keypoints:
    """The same points in the capture's pixels."""
    scale = np.array([*to_capture[:2], 1.0], np.float32)
    offset = np.array([*to_capture[2:], 0.0], np.float32)
    moved = {name: getattr(keypoints, name) * scale + offset for name in ("points", "iris", "mesh")}
    return replace(keypoints, **moved)


class Observed:
    """What `observe` left in a folder, of a clip with these shots."""

    def __init__(self, folder: Path, shots: list[tuple[int, int]]) -> None:
        self.shots = shots
        self.believed: dict[str, Any] = json.loads((folder / "source.json").read_text())
        self.keypoints = Keypoints.load(folder / "keypoints.npz")
        masks, actions = folder / "masks.npy", folder / "actions.npz"
        self.masks: UInt8[ndarray, "T h w"] | None = np.load(masks, mmap_mode="r") if masks.is_file() else None
        self.actions: Actions | None = None
        if actions.is_file():
            with np.load(actions) as table:
                self.actions = Actions(table["names"].tolist(), table["values"], float(table["scale"]))

    def coarse(self, width: int, height: int) -> Callable[[int], UInt8[ndarray, "H W"]]:
        """Frame by frame the coarse person mask at the capture's size. Only for sources that give one."""
        assert self.masks is not None, "this source gives no masks"
        scale = (self.masks.shape[2] / width, self.masks.shape[1] / height)
        steady = SteadyMasks(self.masks, self.keypoints.points, scale, self.shots)

        def mask(index: int) -> UInt8[ndarray, "H W"]:
            return np.array(Image.fromarray(steady[index]).resize((width, height), Image.Resampling.BICUBIC))

        return mask
