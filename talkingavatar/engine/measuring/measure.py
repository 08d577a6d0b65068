"""What a metric is: one object that says what it needs, takes the frames of one video in order, and finishes.

A new one is a file in `measures/` and a line in `measures.registry`. A measure sees what those before it in the list
found, of the same video and of the ground truth's, so that faces are detected once for all that need them.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from talkingavatar.config.protocol import ASKED, Condition
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.engine.measuring.foretold import Foretold
from talkingavatar.engine.measuring.held_out import HeldOut
from talkingavatar.runtime.arrays import read_npz
from talkingavatar.runtime.files import whole
from talkingavatar.runtime.readers import Unreadable
from talkingavatar.splatting import to_bytes
from talkingavatar.types import Batch, DrivingSignal

ANEW = "remove it: it is made anew"
SEEN_NOTHING, THE_SAME = "nothing to measure it on was seen", "without end: the pictures are the same"
NOT_ASKED = ""  # why something is not there that nobody asks for: no measure says that it misses it


@dataclass
class Findings:
    """Numbers by key, and why one is not there: by key, by its group (before a slash) or its kind (after the last)."""

    metrics: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    curves: dict[str, list[list[float]]] = field(default_factory=dict)  # name to [shifts, values]
    tables: dict[str, ndarray] = field(default_factory=dict)  # what other measures go on from, a row a frame
    # Of a metric's every frame, NaN where it has no value: what two avatars are compared by. `save` leaves it out.
    per_frame: dict[str, Float[ndarray, " T"]] = field(default_factory=dict)

    def add(self, other: Findings) -> None:
        """Take what another measure found; what is no number is a skip with a reason, never a silent gap."""
        for key, value in other.metrics.items():
            if np.isfinite(value):
                self.metrics[key] = float(value)
            else:
                self.skipped.setdefault(key, SEEN_NOTHING if np.isnan(value) else THE_SAME)
        self.skipped |= other.skipped
        self.curves |= other.curves
        self.tables |= other.tables
        self.per_frame |= other.per_frame

    @property
    def missed(self) -> dict[str, str]:
        """The reasons for what was not found in another way."""
        return {key: why for key, why in self.skipped.items() if key not in self.metrics}

    def save(self, file: Path) -> None:
        text = json.dumps([self.metrics, self.skipped, self.curves])
        told = {"text": np.array(text), "digest": np.array(_digest(text, self.tables))}
        with whole(file) as temporary:
            np.savez(temporary, allow_pickle=False, **told, **self.tables)

    @staticmethod
    def load(file: Path) -> Findings:
        """
        Raises:
            UserError, Unreadable: there is no such file, or it is not as `save` wrote it.
        """
        tables = read_npz(file, ("text", "digest"), ANEW)
        text, digest = str(tables.pop("text")), str(tables.pop("digest"))
        if digest != _digest(text, tables):
            raise Unreadable(str(file), "other numbers than were written", "what evaluate keeps", ANEW)
        metrics, skipped, curves = json.loads(text)
        return Findings(metrics, skipped, curves, tables)


def _digest(text: str, tables: Mapping[str, ndarray]) -> str:
    """Of all that is kept."""
    digest = hashlib.sha256(text.encode())
    for name, table in sorted(tables.items()):
        digest.update(f"{name} {table.dtype} {table.shape}".encode() + np.ascontiguousarray(table).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Options:
    """What a user says of measures."""

    lpips: tuple[str, ...] = ("alex",)  # backbones
    weights: str | None = None  # folder of their files; None looks in the usual places
    syncnet: str | None = None  # file or folder of SyncNet's weights; None looks in the usual places
    landmarks: str = "mediapipe"  # mediapipe | none
    views: tuple[str, ...] | None = ()  # held-out cameras; None: all of the capture
    expressions: tuple[str, ...] | None = ()  # of `conf/evaluate/expression/default.yaml`; None: all
    also: frozenset[str] = frozenset()  # of `config.protocol.ASKED`
    device: torch.device | str = "cpu"
    announce: Callable[[str], None] = lambda message: None  # is told what takes long

    @property
    def not_asked(self) -> dict[str, str]:
        """What measures may need and nobody asks for."""
        return {name: NOT_ASKED for name in ASKED if name not in self.also}


@dataclass(frozen=True)
class Found:
    """A network or a detector that was looked for: itself with what its numbers must be read with, or why not."""

    use: Any = None
    facts: Mapping[str, Any] | None = None  # file, checksum, origin
    why: str = ""


@dataclass(frozen=True)
class Networks:
    """All that was looked for, by name. None of it is part of a method, so none is ever in a checkpoint."""

    found: Mapping[str, Found] = field(default_factory=dict)

    @property
    def used(self) -> dict[str, Mapping[str, Any]]:
        """File, checksum and origin of what is there."""
        return {name: found.facts for name, found in self.found.items() if found.facts is not None}

    @property
    def missing(self) -> dict[str, str]:
        """Why the others are not."""
        return {name: found.why for name, found in self.found.items() if found.facts is None}

    def use(self, name: str) -> Any:
        """The network of this name; None where there is none."""
        return self.found[name].use if name in self.found else None

    def family(self, prefix: str) -> dict[str, Any]:
        """Those whose names begin so, by what follows."""
        there = {name: found.use for name, found in self.found.items() if found.facts is not None}
        return {name.removeprefix(prefix): use for name, use in there.items() if name.startswith(prefix)}


@dataclass(frozen=True)
class Setting:
    """One video that is measured: of what, under which condition, with what at hand.

    `absent` names what measures may need and do not find here, with the reason (`NOT_ASKED`: they say nothing of it):
    "frames" (one after the other, as at the end of a fit they are not), "pictures" (there are any), "truth" (the
    pictures of `Batch` to compare with), "face" (its place in the pictures is known), "avatar", "plain" (nothing but
    the capture drives), "driving" (the pose that drove is known), "motion" (and it is true, or an avatar's),
    "foretold", "samples", what nobody asks for (`ASKED`), and the name of any network.
    """

    held: HeldOut
    networks: Networks
    options: Options
    absent: Mapping[str, str]
    condition: Condition = field(default_factory=Condition)
    avatar: FittedRun | None = None  # None: of the ground truth, or of a driver alone
    foretold: Foretold | None = None
    brief: bool = False  # at the end of a fit, where time counts
    folder: Path | None = None  # of pictures
    progress: bool = False
    check: Callable[[], None] = lambda: None  # may raise to stop


class Picture:
    """A frame of the video, as drawn or as recorded."""

    def __init__(self, image: Float[Tensor, "H W 3"], held: HeldOut, i: int) -> None:
        self.image, self.held, self.i = image, held, i

    @cached_property
    def face(self) -> UInt8[ndarray, "224 224 3"]:
        """The square of the face, where the ground truth has it."""
        return self.held.track.crop(to_bytes(self.image), self.i)


class Measure(ABC):
    """A metric, or several that fall off together."""

    keys: ClassVar[tuple[str, ...]]  # of its numbers, their groups or kinds
    version: ClassVar[int] = 1  # raise when a number of the same frames would change
    needs: ClassVar[tuple[str, ...]] = ()  # see `Setting.absent`
    wants: ClassVar[tuple[str, ...]] = ()  # beginnings of names of networks that it can do without, but says so
    of_run: ClassVar[bool] = False  # the same under every condition: measured once, without frames
    at_end: ClassVar[bool] = False  # at the end of a fit as well
    definitions: ClassVar[Mapping[str, str]] = {}  # what a key, or a part of it before a slash, means

    def __init__(self, setting: Setting) -> None:
        self.setting, self.held = setting, setting.held

    @classmethod
    def find(cls, options: Options) -> dict[str, Found]:
        """
        Raises:
            UserError: a file is there but is not what its name says, or what was named is not there.
        """
        return {}

    @classmethod
    def missed(cls, setting: Setting) -> tuple[str, ...]:
        """Under which keys it is missed where a need is not met."""
        return cls.keys

    def add(self, i: int, shown: Picture | None, truth: Batch | None, signal: DrivingSignal) -> None:  # noqa: B027
        """The i-th frame of those held out.

        Args:
            shown: None where there are no pictures.
            truth: what it is compared with; None while the ground truth itself is measured.
            signal: what drove it, the pose as it was drawn; on the CPU.
        """

    @abstractmethod
    def finish(self, found: Findings, truth: Findings) -> Findings:
        """
        Args:
            found: by the measures before this one, of the same video.
            truth: by all measures, of the ground truth.
        """

    def close(self) -> None:  # noqa: B027
        """Let go of whatever it holds, finished or not."""
