"""Growing and pruning Gaussians during a fit, through gsplat's strategies (plain torch, any device)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from gsplat.strategy import DefaultStrategy
from gsplat.strategy.ops import remove, reset_opa
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim import Optimizer

from talkingavatar.errors import UserError


@dataclass(frozen=True)
class DensityPolicy:
    """Whether and how the number of Gaussians changes (Kerbl et al. 2023, section 5.2)."""

    name: str = "default"  # "default": clone, split and prune; "none": never
    start: int = 500  # steps; gradients count from the first on, the first change comes after this one
    stop: int = 15_000
    every: int = 100
    grow_gradient: float = 2e-4  # mean image-plane gradient (image = [-1, 1]) above which a Gaussian is cloned or split
    grow_scale: float = 0.01  # of scene_scale: larger ones are split, smaller ones cloned
    prune_opacity: float = 0.005
    prune_scale: float = 0.1  # of scene_scale: larger ones are pruned, once opacities have been reset
    scene_scale: float = 1.0  # metres
    max_gaussians: int = 1_000_000
    reset_opacity_every: int = 0  # steps between clamping opacities to twice prune_opacity; 0: never
    keep: str | None = None  # carried integer of which no value may lose its last Gaussian (a triangle its only one)


class DensityChange(NamedTuple):
    """What one step did to the Gaussians; a split one counts as one grown."""

    grown: int = 0
    pruned: int = 0


class DensityControl:
    """Applies a policy to raw parameters, their optimisers and the integers that follow each Gaussian.

    New Gaussians of a split are drawn from torch's global generator, which the caller seeds.

    Args:
        parameters: means, quats, scales (log), opacities (logit), sh, and further floats, a row a Gaussian; replaced as
            the count changes.
        optimisers: one optimiser with one group for each of them; moments follow their Gaussians.
        carried: integer tensors, a row a Gaussian (parent, region).

    Raises:
        UserError: the policy's name is unknown.
    """

    def __init__(
        self,
        policy: DensityPolicy,
        parameters: nn.ParameterDict | dict[str, nn.Parameter],
        optimisers: dict[str, Optimizer] | dict[str, torch.optim.Adam],
        carried: dict[str, Int[Tensor, "N *rest"]],
    ) -> None:
        if policy.name not in ("default", "none"):
            raise UserError("density.name", repr(policy.name), '"default" or "none"', "choose one of them")
        self.policy, self.parameters, self.optimisers = policy, parameters, optimisers
        self._names = list(carried)
        # gsplat's operations carry every tensor of the state along; so ours travel there.
        self._state: dict[str, Any] = {
            "grad2d": None,
            "count": None,
            "scene_scale": policy.scene_scale,
            **carried,
        }
        self._strategy = _CappedStrategy(
            prune_opa=policy.prune_opacity,
            grow_grad2d=policy.grow_gradient,
            grow_scale3d=policy.grow_scale,
            prune_scale3d=policy.prune_scale,
            refine_start_iter=policy.start,
            refine_stop_iter=policy.stop,
            refine_every=policy.every,
            reset_every=policy.reset_opacity_every or sys.maxsize,
        )
        self._strategy.max_gaussians, self._strategy.keep = policy.max_gaussians, policy.keep

    @property
    def carried(self) -> dict[str, Tensor]:
        """The integers as they are now."""
        return {name: self._state[name] for name in self._names}

    def before_backward(self, step: int, infos: Sequence[dict[str, Any]]) -> None:
        """Call with the `info` of the step's renderings before their loss is differentiated."""
        if self._active(step):
            for info in infos:
                info[_key(info)].retain_grad()

    def seen(self, step: int, infos: Sequence[dict[str, Any]], frames: int = 1) -> Float[Tensor, "2 C N"]:
        """What the backward pass has left in them, a row a view: image-plane gradients, and which Gaussians were seen.

        Gradients are those of a loss on the whole of a view, whose image reaches from -1 to 1.

        Args:
            frames: whose losses were averaged, beside the views of each rendering.
        """
        if not self._active(step):
            return self.parameters["means"].new_zeros(2, 0, len(self.parameters["means"]))
        views = []
        for info in infos:
            share = info["n_cameras"] * frames
            size = [info[side] / 2.0 * share for side in ("width", "height")]
            scaled = torch.stack([g * s for g, s in zip(info[_key(info)].grad.unbind(-1), size, strict=True)], -1)
            visible = (info["radii"] > 0.0).all(-1)
            views.append(torch.stack([scaled.norm(dim=-1).where(visible, 0.0), visible.to(scaled)]))
        return torch.cat(views, 1)

    def after_step(self, step: int, seen: Float[Tensor, "2 C N"]) -> DensityChange:
        """Call after the optimisers' step; counts what was `seen` and, when it is time, changes the Gaussians."""
        strategy, policy = self._strategy, self.policy
        strategy.change = DensityChange()
        if not self._active(step):
            return strategy.change
        for view in seen.unbind(1):
            for name, value in zip(("grad2d", "count"), view, strict=True):
                self._state[name] = value.clone() if self._state[name] is None else self._state[name] + value
        strategy.step_post_backward(self.parameters, self.optimisers, self._state, step, {})
        # gsplat 1.5's own reset never happens (`0 & step > 0` binds as a chained comparison).
        if policy.reset_opacity_every and step > 0 and step % policy.reset_opacity_every == 0:
            reset_opa(self.parameters, self.optimisers, self._state, value=2 * policy.prune_opacity)
        return strategy.change

    def state_dict(self) -> dict[str, Any]:
        """Tensors and None only."""
        return {name: self._state[name] for name in ("grad2d", "count", *self._names)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`; parameters and optimisers are restored by their owner."""
        device = self.parameters["means"].device
        for name in ("grad2d", "count", *self._names):
            self._state[name] = None if state[name] is None else state[name].to(device)

    def _active(self, step: int) -> bool:
        return self.policy.name != "none" and step < self.policy.stop


def _key(info: dict[str, Any]) -> str:
    """Surfels have their own measure of the image-plane gradient."""
    return "gradient_2dgs" if "gradient_2dgs" in info else "means2d"


@dataclass
class _CappedStrategy(DefaultStrategy):
    """Grows only the steepest Gaussians once all would exceed the cap, and tells how many it changed."""

    max_gaussians: int = sys.maxsize
    keep: str | None = None
    change: DensityChange = field(default_factory=DensityChange)

    def _update_state(self, *rest: Any, **named: Any) -> None:
        """Counted already, over all views of the step (`DensityControl.seen`)."""

    @torch.no_grad()
    def _grow_gs(self, params: Any, optimizers: Any, state: dict[str, Any], step: int) -> tuple[int, int]:
        room = max(0, self.max_gaussians - len(params["means"]))
        mean = state["grad2d"] / state["count"].clamp_min(1)
        if int((mean > self.grow_grad2d).sum()) > room:
            state["grad2d"][torch.argsort(mean, descending=True, stable=True)[room:]] = 0
        cloned, split = super()._grow_gs(params, optimizers, state, step)
        self.change = self.change._replace(grown=cloned + split)
        return cloned, split

    @torch.no_grad()
    def _prune_gs(self, params: Any, optimizers: Any, state: dict[str, Any], step: int) -> int:
        doomed = params["opacities"].sigmoid() < self.prune_opa
        if step > self.reset_every:
            doomed |= params["scales"].exp().amax(-1) > self.prune_scale3d * state["scene_scale"]
        if self.keep is not None:
            doomed &= ~_last_ones(state[self.keep], params["opacities"], doomed)
        pruned = int(doomed.sum())
        if pruned:
            remove(params=params, optimizers=optimizers, state=state, mask=doomed)
        self.change = self.change._replace(pruned=pruned)
        return pruned


def _last_ones(group: Int[Tensor, " N"], opacities: Tensor, doomed: Tensor) -> Tensor:
    """The most opaque of each group that would lose all of its members."""
    rank = opacities.argsort(stable=True).argsort()
    count = int(group.max()) + 1
    best = rank.new_zeros(count).scatter_reduce(0, group, rank, "amax")
    saved = torch.zeros(count, dtype=torch.bool, device=group.device)
    saved[group[~doomed]] = True
    return (rank == best[group]) & ~saved[group]
