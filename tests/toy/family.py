"""A family with everything a family may have, as small as it can be: what the platform must carry without knowing it.

Discs on every so many vertices of a body. What a motion latent moves them by depends on four numbers that each learns.
Two layers, two shots a step, a critic, floats of each Gaussian, several frames a step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import softplus

from talkingavatar.config.options import read_options
from talkingavatar.config.rows import GROUPS, TERMS
from talkingavatar.config.schema import FitConfig
from talkingavatar.losses import l1
from talkingavatar.methods.base import SHOWN, Method
from talkingavatar.methods.context import MethodContext
from talkingavatar.training.critic import Critic
from talkingavatar.types import Batch, DrivingSignal, Gaussians, Layers, Rendering, Shot


@dataclass(frozen=True)
class Options:
    """`method.options` of the toy."""

    every: int = 16  # vertices, one of which carries a Gaussian


@final
class Toy(Method):
    """ "still": as the body moves; "shown": as the latent moves it besides."""

    layers = ("still", SHOWN)
    group_names = (*GROUPS, "codes", "reading", "critic")
    term_names = (*TERMS, "still", "fooled")
    carried_vertex: Tensor

    def __init__(self, context: MethodContext) -> None:
        super().__init__(context)
        options = read_options(Options(), self.config.method.options)
        vertices = torch.arange(0, len(self.body.v_template), options.every)
        self.register_buffer("carried_vertex", vertices)
        count = len(vertices)
        self.gaussians = nn.ParameterDict(
            {
                "means": torch.zeros(count, 3),
                "quats": torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
                "scales": torch.full((count, 3), -4.0),
                "opacities": torch.ones(count),
                "sh": torch.zeros(count, 1, 3),
                "codes": 0.1 * torch.randn(count, 4),
            }
        )
        latent = context.look(context.train_frames[:1]).signal.latent
        assert latent is not None
        self.reading = nn.Linear(latent.shape[1], 4 * 3)
        self.judge = nn.Conv2d(3, 1, 4, stride=4)
        self.witnessed: list[tuple[Tensor, Tensor]] = []  # what the step's losses have seen, drawn and real

    @classmethod
    def check(cls, config: FitConfig) -> None:
        read_options(Options(), config.method.options)
        super().check(config)

    @property
    def carried(self) -> dict[str, Int[Tensor, " N"]]:
        return {"vertex": self.carried_vertex}

    @property
    def numbered(self) -> dict[str, int]:
        return {"vertex": len(self.body.v_template)}

    def carry(self, carried: dict[str, Int[Tensor, " N"]]) -> None:
        self.carried_vertex = carried["vertex"]

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"reading": list(self.reading.parameters()), "critic": list(self.judge.parameters())}

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        self.witnessed = []

    def deform(self, signal: DrivingSignal) -> Layers:
        assert signal.latent is not None
        raw = self.gaussians
        means = self.body(signal.pose)[0][0][self.carried_vertex] + raw["means"]
        still = Gaussians(means, raw["quats"], raw["scales"].exp(), raw["opacities"].sigmoid(), raw["sh"])
        moved = raw["codes"] @ self.reading(signal.latent[0]).unflatten(0, (4, 3))
        return {"still": still, SHOWN: replace(still, means=means + moved)}

    def shots(self, batch: Batch) -> dict[str, Shot]:
        still = Shot("still", batch.cameras, batch.background, grows=False)
        return super().shots(batch) | {"still": still}

    def terms(self, drawn: dict[str, Rendering], batch: Batch) -> dict[str, Float[Tensor, "..."]]:
        terms = super().terms(drawn, batch)
        terms["still"] = l1(drawn["still"].rgb, batch.image)
        terms["fooled"] = softplus(-self.judged(drawn[SHOWN].rgb))
        self.witnessed.append((drawn[SHOWN].rgb.detach(), batch.image))
        return terms

    def judged(self, image: Float[Tensor, "B H W 3"]) -> Float[Tensor, "B 1 h w"]:
        """How real each patch looks to the critic."""
        return self.judge(image.permute(0, 3, 1, 2))

    def critic(self) -> Critic:
        return Critic(("critic",), self._told_apart)

    def _told_apart(self) -> Float[Tensor, ""]:
        each = [
            softplus(self.judged(drawn)).mean() + softplus(-self.judged(real)).mean() for drawn, real in self.witnessed
        ]
        return torch.stack(each).mean()
