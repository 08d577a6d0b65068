"""How well foretold action units go with those of held-out speech, beside what holding the mean would do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.data.motion_clips import MotionClip
from talkingavatar.drivers.driver import Driver, Heard, Prompt

STILL = 1e-3  # intensity, a standard deviation below which a unit does not move
DEFINITION = (
    "intensities 0 to 5 of action units, foretold against tracked, on held-out frames. mae: mean absolute difference; "
    "r: mean correlation of the units that move; extent: mean standard deviation by theirs; velocity: mean absolute "
    "difference of the change from frame to frame. held: each unit stays at its mean in what was trained on"
)


@dataclass(frozen=True)
class UnitScores:
    """Of one clip's held-out frames."""

    name: str
    r: float
    of: dict[str, dict[str, float]]  # mae, velocity, extent; "foretold" and "held"

    def metrics(self, prefix: str) -> dict[str, float]:
        """For the summary, as `units/mae`, `units/held/mae`."""
        found = {f"{prefix}/r": self.r} | {f"{prefix}/{what}": value for what, value in self.of["foretold"].items()}
        return found | {f"{prefix}/held/{what}": value for what, value in self.of["held"].items()}

    def rows(self) -> list[dict[str, Any]]:
        """Lines of the table."""
        words, lines = {"foretold": "from sound", "held": "mean held"}, []
        for source, what in words.items():
            row = {"held-out": f"{self.name}, {what}", "units r": f"{self.r:.3f}" if source == "foretold" else ""}
            lines.append(row | {f"units {key}": f"{value:.3f}" for key, value in self.of[source].items()})
        return lines


@torch.no_grad()
def measure_units(clip: MotionClip, driver: Driver) -> UnitScores:
    """A driver of action units on the held-out frames of a clip that knows them."""
    assert clip.units is not None
    held, trained = clip.test_frames, [frame for start, stop in clip.train for frame in range(start, stop)]
    heard = Heard(clip.fps, clip.samples, clip.features, clip.shots)
    foretold = driver.sample(heard, Prompt(speaker=clip.name).only(driver.takes), 0)[0][held]
    truth = clip.units[held]
    mean = clip.units[trained].mean(0).expand_as(truth)
    moving = truth.std(0) > STILL
    both = moving & (foretold.std(0) > STILL)
    # A unit that moves and is foretold to stay still is followed with r = 0.
    r = float(_correlation(foretold[:, both], truth[:, both]).sum() / moving.sum().clamp_min(1))
    of = {name: _apart(values, truth, moving) for name, values in (("foretold", foretold), ("held", mean))}
    return UnitScores(clip.name, r, of)


def _apart(values: Float[Tensor, "T 17"], truth: Float[Tensor, "T 17"], moving: Tensor) -> dict[str, float]:
    extent = (values.std(0) / truth.std(0).clamp_min(STILL))[moving]
    return {
        "mae": float((values - truth).abs().mean()),
        "velocity": float((values.diff(dim=0) - truth.diff(dim=0)).abs().mean()),
        "extent": float(extent.mean()) if len(extent) else float("nan"),
    }


def _correlation(a: Float[Tensor, "T n"], b: Float[Tensor, "T n"]) -> Float[Tensor, " n"]:
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)).clamp_min(1e-9)
