"""What a page shows of one avatar."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.data.prompts.ask import Asked
from talkingavatar.types import DrivingSignal


@runtime_checkable  # while tests run, annotations are checked
class Motion(Protocol):
    """T frames of what a baked avatar is moved by."""

    @property
    def quats(self) -> Float[ndarray, "T J 4"]:
        """Of each joint from its parent, (w, x, y, z)."""

    @property
    def transl(self) -> Float[ndarray, "T 3"]:
        """Metres."""

    @property
    def expression(self) -> Float[ndarray, "T E"]:
        """Coefficients."""

    @property
    def residual(self) -> Float[ndarray, "T R"]:
        """Coefficients of what the method changes beyond the rig."""


def rows_of(motion: Motion) -> Float[ndarray, "T D"]:
    """All of a frame in a row, as it is sent: quaternions, translation, expression, residual."""
    parts = (motion.quats, motion.transl, motion.expression, motion.residual)
    return np.concatenate([part.reshape(len(part), math.prod(part.shape[1:])) for part in parts], 1)


@runtime_checkable  # while tests run, annotations are checked
class Baked(Protocol):
    """An avatar in one file, and the way from a signal to its motion."""

    @property
    def glb(self) -> bytes:
        """The file."""

    def motion(self, signal: DrivingSignal) -> Motion:
        """Of any frames; no picture is drawn."""


@dataclass(frozen=True)
class Camera:
    """A view of a capture; one matrix where it stands still, else one a frame."""

    name: str
    viewmats: list[list[float]]  # world to camera, 16 numbers row by row
    Ks: list[list[float]]  # 9 numbers row by row, pixels
    width: int
    height: int


@runtime_checkable  # while tests run, annotations are checked
class Voice(Protocol):
    """A live way from sound to motion, used by one thread."""

    def push(self, samples: Float[ndarray, " N"]) -> Float[ndarray, "n D"]:
        """The next samples, 16 kHz mono; rows of the frames that they make certain."""


@dataclass(frozen=True)
class Live:
    """How an avatar speaks as it hears."""

    fps: float
    lookahead: float  # seconds between a sound and its frame, beside the work
    voice: Callable[[int], Voice]  # a new one, whose first frame has this number
    prompted: Callable[[int, Asked], Voice] | None = None  # the same with what is asked of its face, which may change

    def told(self) -> dict[str, Any]:
        """What the page knows of it; `prompted`: words are in the frames that come."""
        return {"fps": self.fps, "lookahead": self.lookahead, "prompted": self.prompted is not None}


@dataclass(frozen=True)
class Shown:
    """One avatar: its file, and of a fitted run how it moved, sounded and looked."""

    name: str
    glb: bytes
    fps: float = 25.0
    motion: Float[ndarray, "T D"] | None = None
    heldout: Sequence[tuple[int, int]] = ()  # spans of frames
    sound: bytes | None = None  # a WAV file
    cameras: Sequence[Camera] = ()
    picture: Callable[[int], bytes] | None = None  # of a frame, by the first camera, JPEG
    background: Sequence[float] = (1.0, 1.0, 1.0)
    live: Live | None = None
    notes: Sequence[str] = field(default_factory=list)  # on what there is not, and why

    def told(self) -> dict[str, Any]:
        """What the page reads first of it."""
        return {
            "name": self.name,
            "fps": self.fps,
            "frames": 0 if self.motion is None else len(self.motion),
            "heldout": [list(span) for span in self.heldout],
            "sound": self.sound is not None,
            "pictures": self.picture is not None,
            "cameras": [asdict(camera) for camera in self.cameras],
            "background": list(self.background),
            "live": None if self.live is None else self.live.told(),
            "notes": list(self.notes),
        }
