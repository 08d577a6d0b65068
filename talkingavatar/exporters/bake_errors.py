"""How far a baked avatar is from the method that it was baked of, in frames that neither was fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from talkingavatar.body.parts import LIPS, MOUTH
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.errors import UserError
from talkingavatar.methods.baking import Baking, poser
from talkingavatar.metrics.image import psnr

FRAMES = 24  # that are looked at, at most
AS_GOOD_AS_EQUAL = 99.0  # decibels; more is rounding


@dataclass(frozen=True)
class Most:
    """What may be between them."""

    millimetres: float = 0.5  # of a part's Gaussians, in the mean of the frames
    decibels: float = 45.0  # of the worst picture


@dataclass(frozen=True)
class Errors:
    """Millimetres between Gaussians (worst: of any in any frame), and decibels (PSNR) between pictures."""

    frames: int
    millimetres: dict[str, dict[str, float]]  # worst and mean, by part of the body
    decibels: dict[str, float]  # worst and mean

    def facts(self) -> dict[str, Any]:
        """For a file."""
        return {"frames": self.frames, "mm": self.millimetres, "psnr_db": self.decibels}

    def line(self) -> str:
        """For who reads."""
        parts = [f"{part} {of['mean']:.3f} ({of['worst']:.2f})" for part, of in self.millimetres.items()]
        pictures = f"{self.decibels['worst']:.1f} dB in the worst of {self.frames} held-out frames"
        return f"baked against the method: pictures {pictures}; mm in the mean (at worst): {', '.join(parts)}"

    def check(self, most: Most) -> None:
        """
        Raises:
            UserError: there is more between them than there may be.
        """
        far = [name for name, of in self.millimetres.items() if of["mean"] > most.millimetres]
        if far or self.decibels["worst"] < most.decibels:
            expected = f"{most.millimetres:g} mm at most in the mean of each part, {most.decibels:g} dB at least"
            action = "say most=any to have it as it is, or (glb) bake=false for a still one"
            raise UserError("most", self.line(), expected, action)


@torch.no_grad()
def errors_of(trained: FittedRun, baking: Baking) -> Errors:
    """Held-out frames of the capture, as the first camera sees them."""
    data, method = trained.data, trained.method
    held = data.capture.test_frames
    frames = held[:: -(-len(held) // FRAMES)]
    pose, parts = poser(baking.avatar), _parts(trained)
    apart, alike = [], []
    for frame in frames:
        signal, cameras = data.signal([frame]).to(method.device), data.capture.cameras([frame]).to(method.device)
        whole, (baked,) = method.drive(signal), pose(baking.moments(signal))
        apart.append(1e3 * (whole.means - baked.means).norm(dim=1))
        pictures = [method.render(gaussians, cameras).rgb[0] for gaussians in (whole, baked)]
        alike.append(min(psnr(pictures[0], pictures[1]), AS_GOOD_AS_EQUAL))
    distances = torch.stack(apart)
    millimetres = {
        name: {"worst": float(distances[:, part].max()), "mean": float(distances[:, part].mean())}
        for name, part in parts.items()
    }
    return Errors(len(frames), millimetres, {"worst": min(alike), "mean": float(np.mean(alike))})


def _parts(trained: FittedRun) -> dict[str, Bool[Tensor, " N"]]:
    """Which Gaussians are whose; a part without any is left out."""
    method, body = trained.method, trained.method.body
    vertex = method.vertices_of()
    if vertex is None:
        return {"all": torch.ones(len(method.gaussians["means"]), dtype=torch.bool)}
    mouth = torch.isin(vertex, torch.cat([body.regions[name] for name in (*LIPS, *MOUTH)]))
    head = torch.isin(vertex, body.regions["head"]) & ~mouth
    parts = {"mouth": mouth, "head": head, "body": ~(mouth | head)}
    return {name: part for name, part in parts.items() if part.any()}
