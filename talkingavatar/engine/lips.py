"""The mouth of a body: which parameters move it, and how far its lips stand apart."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from talkingavatar.audio.loudness import correlation_and_offset, envelope
from talkingavatar.body.models import Body
from talkingavatar.body.pose_parts import PoseParts
from talkingavatar.data.capture import RATE
from talkingavatar.types import BodyPose, Gaussians


@dataclass(frozen=True)
class LipSync:
    """Lip opening against the sound's loudness, over `frames` frames."""

    what: str
    frames: int
    r: float  # Pearson correlation of frames that belong together
    best_r: float
    offset: int  # frames by which the lips come after the sound where the correlation is highest
    mean_mm: float
    std_mm: float

    def row(self) -> dict[str, Any]:
        """For json: None where nothing varied and nothing could be correlated."""
        return {key: None if value != value else value for key, value in asdict(self).items()}


class Mouth:
    """Jaw and mouth coefficients of a body's pose as one table of numpy's (`body.pose_parts`)."""

    def __init__(self, body: Body) -> None:
        self.parts = PoseParts(body, ("jaw", "mouth"))
        self.jaw = body.joint_names.index("jaw")
        self.names = self.parts.names

    def read(self, pose: BodyPose) -> Float[ndarray, "B P"]:
        """Jaw axis-angle, then the mouth's expression coefficients."""
        return self.parts.read(pose).numpy()

    def write(self, pose: BodyPose, values: Float[ndarray, "B P"]) -> BodyPose:
        """The pose with another mouth; brows, eyelids, gaze and body stay."""
        return self.parts.write(pose, torch.from_numpy(np.asarray(values, np.float32)))


class LipRuler:
    """Measures how far apart the middles of the inner lips are, along the head's own vertical."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.head = body.parents[body.joint_names.index("jaw")]
        self.upper, self.lower = (_middle(body.regions[f"lip_inner_{side}"]) for side in ("upper", "lower"))

    @property
    def known(self) -> bool:
        """Whether the body knows its lips."""
        return bool(len(self.upper)) and bool(len(self.lower))

    @torch.no_grad()
    def of_body(self, pose: BodyPose) -> Float[ndarray, " B"]:
        """Opening in metres of the posed body; negative where the lips are pressed past each other."""
        parts = [self._of_vertices(pose[start : start + 32]) for start in range(0, len(pose), 32)]
        return torch.cat(parts).cpu().numpy()

    def of_gaussians(self, gaussians: Gaussians, parent: Int[Tensor, " N"], pose: BodyPose) -> float:
        """Opening in metres of what is drawn in one frame: Gaussians whose parent vertices lie on the inner lips."""
        places = []
        for lip in (self.upper, self.lower):
            places.append(gaussians.means[torch.isin(parent, lip)].mean(0))
        return float((places[0] - places[1]) @ self._up(pose)[0])

    def _of_vertices(self, pose: BodyPose) -> Float[Tensor, " B"]:
        vertices, _ = self.body(pose)
        between = vertices[:, self.upper].mean(1) - vertices[:, self.lower].mean(1)
        return (between * self._up(pose)).sum(-1)

    def _up(self, pose: BodyPose) -> Float[Tensor, "B 3"]:
        return self.body.joint_transforms(pose.betas, pose.full_pose, pose.expression)[:, self.head, :3, 1]


def _middle(ring: Int[Tensor, " n"]) -> Int[Tensor, " m"]:
    """The middle third of a ring that runs from one corner of the mouth to the other."""
    return ring[len(ring) // 3 : len(ring) - len(ring) // 3]


def lip_sync(what: str, opening: Float[ndarray, " T"], loudness: Float[ndarray, " T"], fps: float) -> LipSync:
    """Compare over all frames; offsets of up to 0.4 s are tried."""
    r, best, offset = correlation_and_offset(opening, loudness, round(0.4 * fps))
    return LipSync(what, len(opening), r, best, offset, float(opening.mean()) * 1e3, float(opening.std()) * 1e3)


def loudness_of(samples: Float[ndarray, " N"], fps: float, frames: int) -> Float[ndarray, " T"]:
    """Square root of the RMS round each frame (16 kHz): loudness grows slower than amplitude."""
    return np.sqrt(envelope(samples, RATE, fps, frames))
