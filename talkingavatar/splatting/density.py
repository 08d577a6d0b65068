"""Growing and pruning Gaussians during a fit (Kerbl et al. 2023, section 5.2), in plain torch on any device.

Row for row what gsplat 1.5's default strategy does, whose own methods change from release to release.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.optim import Optimizer

from talkingavatar.errors import UserError
from talkingavatar.geometry.rotations import quat_to_matrix
from talkingavatar.splatting.conventions import image_gradient, watched

ASKED = 5  # steps of which one tells what its pictures' error is due to: a drawing more
SPLIT = 1.6  # by which the extents of the two that replace a Gaussian are smaller than its own


@dataclass(frozen=True)
class DensityPolicy:
    """Whether and how the number of Gaussians changes (Kerbl et al. 2023, section 5.2)."""

    name: str = "default"  # "default": clone, split and prune; "none": never
    by: str = "gradient"  # "gradient": what is steep grows; "error": as many, but what answers for most of the error
    start: int = 500  # steps; gradients count from the first on, the first change comes after this one
    stop: int = 15_000
    every: int = 100
    grow_gradient: float = 2e-4  # mean image-plane gradient (image = [-1, 1]) above which a Gaussian is cloned or split
    grow_scale: float = 0.01  # of scene_scale: larger ones are split, smaller ones cloned
    prune_opacity: float = 0.005
    prune_scale: float = 0.1  # of scene_scale: larger ones are pruned, once opacities have been reset
    scene_scale: float = 1.0  # metres
    max_gaussians: int = 200_000
    spare: float = 0.0  # of max_gaussians: that many are left for `add`
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
        UserError: the policy's name is unknown, or by what it grows.
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
        if policy.by not in ("gradient", "error"):
            raise UserError("density.by", repr(policy.by), '"gradient" or "error"', "choose one of them")
        self.policy, self.parameters, self.optimisers = policy, parameters, optimisers
        # Sums over the views since the count last changed: of image-plane gradients, of those that saw a Gaussian, and
        # of the error it answers for.
        names = ("grad2d", "count", "error") if policy.by == "error" else ("grad2d", "count")
        self._sums = {name: parameters["means"].new_zeros(len(parameters["means"])) for name in names}
        self._carried = dict(carried)

    @property
    def carried(self) -> dict[str, Tensor]:
        """The integers as they are now; their owner may set others, a row a Gaussian."""
        return dict(self._carried)

    @carried.setter
    def carried(self, carried: dict[str, Tensor]) -> None:
        self._carried = dict(carried)

    def before_backward(self, step: int, views: Sequence[Sequence[dict[str, Any]]]) -> None:
        """Call with the `info` of the step's renderings, as `seen` takes them, before their loss is differentiated."""
        if self._active(step):
            for drawings in views:
                for info in drawings:
                    watched(info).retain_grad()

    def seen(self, step: int, views: Sequence[Sequence[dict[str, Any]]], frames: int = 1) -> Float[Tensor, "2 C N"]:
        """What the backward pass has left in them, a row a view: image-plane gradients, and which Gaussians were seen.

        Gradients are those of a loss on the whole of a view, whose image reaches from -1 to 1.

        Args:
            views: the drawings whose mean each of them is: their gradients add up.
            frames: whose losses were averaged, beside the views of each rendering.
        """
        if not self._active(step):
            return self.parameters["means"].new_zeros(2, 0, len(self.parameters["means"]))
        rows = []
        for drawings in views:
            info = drawings[0]
            share = info["n_cameras"] * frames
            size = [info[side] / 2.0 * share for side in ("width", "height")]
            gradient = reduce(torch.add, (image_gradient(drawing) for drawing in drawings))
            scaled = torch.stack([g * s for g, s in zip(gradient.unbind(-1), size, strict=True)], -1)
            visible = reduce(torch.logical_or, ((drawing["radii"] > 0).all(-1) for drawing in drawings))
            rows.append(torch.stack([scaled.norm(dim=-1).where(visible, 0.0), visible.to(scaled)]))
        return torch.cat(rows, 1)

    def asks(self, step: int) -> bool:
        """Whether `after_step` wants to know what the step's pictures' error is due to (`answered`)."""
        return self.policy.by == "error" and self._active(step) and step % ASKED == 0

    @torch.no_grad()
    def after_step(
        self, step: int, seen: Float[Tensor, "2 C N"], answered: Float[Tensor, "V N"] | None = None
    ) -> DensityChange:
        """Call after the optimisers' step; counts what was `seen` and, when it is time, changes the Gaussians.

        Args:
            answered: the error that each Gaussian answers for, in each view, where the step `asks` for it.
        """
        policy, change = self.policy, DensityChange()
        if not self._active(step):
            return change
        for view in seen.unbind(1):
            for name, value in zip(("grad2d", "count"), view, strict=True):
                self._sums[name] = self._sums[name] + value
        if answered is not None:
            self._sums["error"] = self._sums["error"] + answered.sum(0)
        if step > policy.start and step % policy.every == 0:
            change = DensityChange(grown=self._grow(), pruned=self._prune(step))
            self._sums = {name: torch.zeros_like(value) for name, value in self._sums.items()}
        if policy.reset_opacity_every and step > 0 and step % policy.reset_opacity_every == 0:
            self._reset_opacities()
        return change

    @torch.no_grad()
    def add(self, values: dict[str, Float[Tensor, "M ..."]], carried: dict[str, Int[Tensor, "M ..."]]) -> None:
        """Let there be further Gaussians, of which the optimisers know nothing and no view has told anything.

        Args:
            values: of each parameter.
            carried: integers of each kind.
        """

        def longer(rows: Tensor) -> Tensor:
            return torch.cat([rows, rows.new_zeros(len(values["means"]), *rows.shape[1:])])

        for name, old in list(self.parameters.items()):
            self._replace(name, torch.cat([old.detach(), values[name]]), longer)
        self._sums = {name: longer(sums) for name, sums in self._sums.items()}
        self._carried = {name: torch.cat([rows, carried[name]]) for name, rows in self._carried.items()}

    def state_dict(self) -> dict[str, Any]:
        """Tensors only."""
        return self._sums | self._carried

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`; parameters and optimisers are restored by their owner.

        Raises:
            ValueError: its sums are none.
            KeyError: something is missing.
        """
        for name, sums in self._sums.items():
            if state[name].dtype != sums.dtype or not (state[name].isfinite() & (state[name] >= 0)).all():
                raise ValueError(f"density control's {name} is no sum over views")
        device = self.parameters["means"].device
        for table in (self._sums, self._carried):
            for name in table:
                table[name] = state[name].to(device)

    def _active(self, step: int) -> bool:
        return self.policy.name != "none" and step < self.policy.stop

    def _grow(self) -> int:
        """Clone small Gaussians of steep gradient and split large ones; the steepest where there is no room for all.

        By error as many grow, but those that answer for most of it, and all are split: where a picture is drawn and yet
        wrong, what is there is too coarse, and a clone would be as coarse.
        """
        policy = self.policy
        mean = self._sums["grad2d"] / self._sums["count"].clamp_min(1)
        score = self._sums["error"] if policy.by == "error" else mean
        room = policy.max_gaussians - round(policy.spare * policy.max_gaussians) - len(mean)
        many = min(int((mean > policy.grow_gradient).sum()), max(0, room))
        chosen = torch.zeros_like(mean, dtype=torch.bool)
        chosen[torch.argsort(score, descending=True, stable=True)[:many]] = True
        chosen &= score > 0
        small = self.parameters["scales"].exp().amax(-1) <= policy.grow_scale * policy.scene_scale
        small &= policy.by == "gradient"
        cloned, split = _rows(chosen & small), _rows(chosen & ~small)
        if grown := len(cloned) + len(split):
            rows = torch.cat([_rows(~chosen | small), cloned, split, split])
            self._take(rows, fresh=len(cloned) + 2 * len(split), last=self._halves(split))
        return grown

    def _halves(self, split: Int[Tensor, " S"]) -> dict[str, Float[Tensor, "S2 3"]]:
        """Means and log scales of the two that stand for each split one: drawn from it, and smaller."""
        scales = self.parameters["scales"][split].exp()
        rotations = quat_to_matrix(self.parameters["quats"][split])
        drawn = torch.randn(2, len(split), 3, device=scales.device)
        means = self.parameters["means"][split] + torch.einsum("nij,nj,bnj->bni", rotations, scales, drawn)
        return {"means": means.reshape(-1, 3), "scales": (scales / SPLIT).log().repeat(2, 1)}

    def _prune(self, step: int) -> int:
        policy, parameters = self.policy, self.parameters
        doomed = parameters["opacities"].sigmoid() < policy.prune_opacity
        if policy.reset_opacity_every and step > policy.reset_opacity_every:
            doomed |= parameters["scales"].exp().amax(-1) > policy.prune_scale * policy.scene_scale
        if policy.keep is not None:
            doomed &= ~_last_ones(self._carried[policy.keep], parameters["opacities"], doomed)
        kept = _rows(~doomed)
        if pruned := len(doomed) - len(kept):
            self._take(kept, fresh=0, last={})
        return pruned

    def _take(self, rows: Int[Tensor, " M"], fresh: int, last: dict[str, Float[Tensor, "S2 3"]]) -> None:
        """Let these rows be the Gaussians: the optimisers know nothing of the `fresh` last, whose values may be new."""

        def moved(moment: Tensor) -> Tensor:
            taken = moment[rows]
            taken[len(rows) - fresh :] = 0
            return taken

        for name, old in list(self.parameters.items()):
            values = old.detach()[rows]
            if name in last:
                values[len(rows) - len(last[name]) :] = last[name]
            self._replace(name, values, moved)
        for table in (self._sums, self._carried):
            for name, values in table.items():
                table[name] = values[rows]

    def _reset_opacities(self) -> None:
        highest = torch.logit(torch.tensor(2 * self.policy.prune_opacity)).item()
        self._replace("opacities", self.parameters["opacities"].detach().clamp(max=highest), torch.zeros_like)

    def _replace(self, name: str, values: Tensor, moments: Callable[[Tensor], Tensor]) -> None:
        """Another parameter in the old one's place, and its optimiser's moments changed alike."""
        old, optimiser = self.parameters[name], self.optimisers[name]
        new = self.parameters[name] = nn.Parameter(values, requires_grad=old.requires_grad)
        (group,) = optimiser.param_groups
        group["params"] = [new]
        state = optimiser.state.pop(old, {})
        optimiser.state[new] = {k: v if k == "step" else moments(v) for k, v in state.items()}


def _rows(chosen: Bool[Tensor, " N"]) -> Int[Tensor, " M"]:
    return chosen.nonzero()[:, 0]


def _last_ones(group: Int[Tensor, " N"], opacities: Tensor, doomed: Bool[Tensor, " N"]) -> Bool[Tensor, " N"]:
    """The most opaque of each group that would lose all of its members."""
    rank = opacities.argsort(stable=True).argsort()
    count = int(group.max()) + 1
    best = rank.new_zeros(count).scatter_reduce(0, group, rank, "amax")
    saved = torch.zeros(count, dtype=torch.bool, device=group.device)
    saved[group[~doomed]] = True
    return (rank == best[group]) & ~saved[group]
