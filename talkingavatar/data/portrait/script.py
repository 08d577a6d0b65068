"""What a portrait performs: stretches of the bank, each with the sound that it goes with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.face_mesh import FaceMesh
from talkingavatar.data.capture import RATE, Span, paper_split
from talkingavatar.data.mesh_motion import FPS, Take, rig_values
from talkingavatar.data.portrait.mesh_warp import BANK, MeshWarp
from talkingavatar.errors import UserError
from talkingavatar.networks.mesh_code import MotionLatent

LENGTH = 50  # frames of a stretch, a phrase: so motions of many kinds are among few frames


class Stretch(NamedTuple):
    """Neighbouring frames of one take of the bank."""

    take: Take
    first: int
    frames: int

    def sound(self) -> Float32[ndarray, " N"]:
        """16 kHz mono, as long as the frames; silence beyond the end of the speech."""
        begin, samples = round(self.first / FPS * RATE), np.zeros(round(self.frames / FPS * RATE), np.float32)
        heard = self.take.speech().samples[begin : begin + len(samples)]
        samples[: len(heard)] = heard
        return samples


@dataclass(frozen=True)
class Script:
    """T frames: `motion` as the bank has it, heads about the middle of each take's."""

    motion: MotionLatent
    stretches: list[Stretch]

    def __len__(self) -> int:
        return len(self.motion.dyn)

    @property
    def shots(self) -> list[tuple[int, int]]:
        """Start and stop of each stretch."""
        stops = np.cumsum([stretch.frames for stretch in self.stretches]).tolist()
        return list(zip([0, *stops], stops, strict=False))

    def sound(self) -> Float32[ndarray, " N"]:
        """16 kHz mono, as long as the frames."""
        return np.concatenate([stretch.sound() for stretch in self.stretches])

    def rig(self, mesh: FaceMesh) -> Float[Tensor, "T P"]:
        """What moves the rig's face (`rig_values`) as the code's makers moved it, which the code holds nearly."""
        names, parts = mesh.body.expression_names, []
        for take, first, frames in self.stretches:
            shown, rows = take.performance(), slice(first, first + frames)
            expression = torch.from_numpy(shown.expression_matrix(names)[rows])
            parts.append(rig_values(mesh, expression.float(), torch.from_numpy(shown.full_pose[rows])))
        return torch.cat(parts)

    def split(self, heldout: float) -> tuple[Span, Span]:
        """Frames to train on and held out, `heldout` of them at the end: whole stretches, where there are two."""
        count, cuts = len(self), [stop for _, stop in self.shots[:-1]]
        if not cuts:
            return paper_split(count, heldout, 1)
        cut = min(cuts, key=lambda stop: abs(stop - (1 - heldout) * count))
        return Span(0, cut), Span(cut, count)


def script_of(source: MeshWarp, frames: int) -> Script:
    """Stretches from all over the bank, from the first take to the last.

    Raises:
        UserError: the bank is shorter.
    """
    starts = np.cumsum([0] + [take.frames for take in source.takes]).tolist()
    every = [(start + first, Stretch(take, first, LENGTH)) for start, take in zip(starts, source.takes, strict=False)
             for first in range(0, take.frames - LENGTH + 1, LENGTH)]  # fmt: skip
    if frames > LENGTH * len(every):
        raise UserError("data.frames", str(frames), f"at most {LENGTH * len(every)}, the bank's length", "lower it")
    bank = source.bank(BANK)
    stretches: list[Stretch] = []
    rows: list[int] = []
    for number, chosen in enumerate(np.linspace(0, len(every) - 1, -(-frames // LENGTH)).round().astype(int)):
        begin, stretch = every[chosen]
        count = min(LENGTH, frames - number * LENGTH)
        stretches.append(stretch._replace(frames=count))
        rows += range(begin, begin + count)
    return Script(MotionLatent(bank.dyn[rows], bank.pose[rows]), stretches)
