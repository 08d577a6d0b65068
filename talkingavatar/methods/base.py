"""What every method shares: rendering, weighting, the step, density, checkpoints of a changing number of Gaussians."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, cast

import lightning as L
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim import Adam

from talkingavatar.body.models import Body
from talkingavatar.config.compose import suggestion
from talkingavatar.config.schema import DensityConfig, FitConfig
from talkingavatar.errors import UserError
from talkingavatar.losses import dssim, l1, normal_consistency
from talkingavatar.methods.shutter import moments
from talkingavatar.networks.exposure import Exposure
from talkingavatar.splatting import rasterise
from talkingavatar.splatting.density import DensityControl, DensityPolicy
from talkingavatar.training.optimisers import NamedOptimisers
from talkingavatar.training.schedule import Schedule, scale_step, scaled
from talkingavatar.types import Batch, BodyPose, Cameras, DrivingSignal, Gaussians, Rendering

ATTRIBUTES = ("means", "quats", "scales", "opacities", "sh")
GROUPS = (*ATTRIBUTES, "exposure")  # that every method has
TERMS = ("l1", "dssim", "normal")  # that every method has


def _check_names(table: str, rows: Iterable[str], kind: str, known: Iterable[str]) -> None:
    known = sorted(known)
    for name in rows:
        if name not in known:
            expected = f"one of {', '.join(known)}"
            raise UserError(f"{table}.{name}", f"an unknown {kind}", expected, suggestion(name, known))


@dataclass(frozen=True)
class MethodContext:
    """What a method may know of the run it is built for."""

    config: FitConfig
    body: Body
    pose: BodyPose  # tracked parameters of all frames of the capture
    train_frames: list[int]
    audio_channels: int
    look: Callable[[list[int]], Batch]  # training frames with their pictures, to start from


class Method(L.LightningModule, ABC):
    """Turns a driving signal into Gaussians. Each family is one final class.

    `gaussians` holds the raw attributes (log scales, logit opacities); `carried` the integer tensors, a row a Gaussian,
    that follow it through clone, split and prune. A step trains one frame.
    """

    group_names: ClassVar[tuple[str, ...]] = GROUPS  # of everything that has learning rates; a family adds its own
    term_names: ClassVar[tuple[str, ...]] = TERMS  # of its losses

    gaussians: nn.ParameterDict
    body: Body
    row_of_frame: Tensor

    def __init__(self, context: MethodContext) -> None:
        super().__init__()
        self.context = context
        self.config = context.config
        self.body = context.body
        self.scalars: dict[str, float] = {}  # of the last step, for whoever logs
        self.step = 0  # of the run so far; outlives the trainer, which a loaded checkpoint does not have
        rows = torch.full((len(context.pose),), -1)
        rows[context.train_frames] = torch.arange(len(context.train_frames))
        self.register_buffer("row_of_frame", rows, persistent=False)
        self.exposure = Exposure(len(context.train_frames)) if self.config.data.exposure else None
        self.schedules = self._schedules()
        self.density: DensityControl | None = None

    @classmethod
    def check(cls, config: FitConfig) -> None:
        """Look at the method's schedule, losses and (in a family) options before anything is built.

        Raises:
            UserError: a mistake in them; a group or a term that the family lacks would never count.
        """
        _check_names("method.schedule", config.method.schedule, "group", cls.group_names)
        _check_names("loss.terms", config.loss.terms, "term", cls.term_names)

    @abstractmethod
    def drive(self, signal: DrivingSignal) -> Gaussians:
        """World-space Gaussians of one frame (B = 1)."""

    def refined_pose(self, signal: DrivingSignal) -> BodyPose:
        """The pose a frame is drawn in; a method that learns about the pose of its training frames tells it here."""
        return signal.pose

    def row(self, signal: DrivingSignal) -> int:
        """The frame's row in tables of what is learned about each training frame; -1 for all other frames."""
        frame = int(signal.frame[0])
        return int(self.row_of_frame[frame]) if frame >= 0 else -1

    @abstractmethod
    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The groups besides the Gaussians' own attributes, by name; those without a schedule are not trained."""

    @property
    @abstractmethod
    def carried(self) -> dict[str, Int[Tensor, " N"]]:
        """Per-Gaussian integers that density control must carry along."""

    @abstractmethod
    def carry(self, carried: dict[str, Int[Tensor, " N"]]) -> None:
        """Take what density control carried."""

    def terms(self, rendering: Rendering, batch: Batch) -> dict[str, Float[Tensor, "..."]]:
        """Unreduced losses by the names of the loss table; a family adds its own."""
        terms = {"l1": l1(rendering.rgb, batch.image), "dssim": dssim(rendering.rgb, batch.image)}
        if self.counts("normal") and rendering.normals is not None and rendering.depth_normals is not None:
            terms["normal"] = normal_consistency(rendering.normals, rendering.depth_normals)
        return terms

    def density_policy(self) -> DensityConfig:
        """Whether and how the number of Gaussians changes."""
        return self.config.density

    def density_details(self) -> dict[str, Any]:
        """Fields of `splatting.density.DensityPolicy` that the family decides, not the configuration."""
        return {}

    def vertices_of(self) -> Int[Tensor, " N"] | None:
        """The body's vertex nearest to each Gaussian, -1 for those of none; None where Gaussians know no vertices."""
        return self.carried.get("parent")

    # -- rendering -----------------------------------------------------------------------------------------------------

    def render(
        self, gaussians: Gaussians, cameras: Cameras, background: Float[Tensor, " 3"] | None = None
    ) -> Rendering:
        """The configured renderer, on the configured background or another."""
        renderer = self.config.renderer
        if background is None:
            background = torch.tensor(renderer.background, device=gaussians.means.device)
        mode = cast(Literal["2dgs", "3dgs"], renderer.mode)
        return rasterise(gaussians, cameras, background, mode=mode, backend=cast(Any, renderer.backend))

    # -- the step ------------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        drawings = [self._drawn(s, batch) for s in moments(batch, self.config.data.shutter, self.body)]
        rendering = drawings[0]
        if len(drawings) > 1:
            rendering = replace(rendering, rgb=torch.stack([drawn.rgb for drawn in drawings]).mean(0))
        if self.density is not None:
            self.density.before_backward(self.step, rendering.info)
            self._info = rendering.info
        total = torch.zeros((), device=rendering.rgb.device)
        self.scalars = {"gaussians": float(len(self.gaussians["means"]))}
        for name, values in self.terms(rendering, batch).items():
            if self.counts(name):
                # Not `mean`, whose gradient is written out for every pixel; a sum's is one number (losses.image_cpu).
                value = values.sum() / values.numel()
                total = total + self.config.loss.terms[name].weight * value
                self.scalars[f"loss/{name}"] = float(value.detach())
        self.scalars["loss/total"] = float(total.detach())
        if not total.isfinite():
            raise RuntimeError(f"the loss is {float(total)} at step {self.step}: {self.scalars}")
        return total

    def _drawn(self, signal: DrivingSignal, batch: Batch) -> Rendering:
        """What the camera of this batch sees of the signal, under the exposure learned for its frame."""
        gaussians = self.drive(signal)
        if self.exposure is not None and self.started("exposure"):
            gaussians = self.exposure(gaussians, self.row(signal))
        return self.render(gaussians, batch.cameras, batch.background)

    def counts(self, term: str) -> bool:
        """Whether a loss term has a weight and has started."""
        row = self.config.loss.terms.get(term)
        return row is not None and row.weight > 0 and self.step >= scale_step(row.start, self.config.budget)

    def started(self, group: str) -> bool:
        """Whether a parameter group has left its frozen part."""
        return group in self.schedules and self.step >= self.schedules[group].start

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # The step alone decides every random number in it, so that resuming needs no generator's state.
        self.step = self.global_step
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)
        optimisers = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimisers, NamedOptimisers)
        for name, schedule in self.schedules.items():
            rate = schedule.rate(self.step)
            optimisers.set_rate(name, rate)
            for parameter in optimisers.parameters_of(name):
                parameter.requires_grad_(rate > 0)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        optimizer.step(closure=optimizer_closure)
        if self.density is not None:
            # Inside the optimiser's step, so that no checkpoint falls between it and the change of the count.
            self.density.after_step(self.step, self._info)
            self.carry(self.density.carried)

    def configure_optimizers(self) -> NamedOptimisers:
        groups = {name: [self.gaussians[name]] for name in ATTRIBUTES} | self.parameter_groups()
        if self.exposure is not None:
            groups["exposure"] = [self.exposure.log_gain]
        self.requires_grad_(False)  # each group's start step sets its own free
        inner = {name: Adam(groups[name], lr=0.0, eps=1e-15, fused=True) for name in self.schedules}
        policy = self.density_policy()
        if policy.name != "none":
            self.density = self._density_control(policy, inner)
        return NamedOptimisers(inner)

    def _density_control(self, config: DensityConfig, inner: dict[str, Adam]) -> DensityControl:
        budget = self.config.budget
        every = max(config.min_every, scale_step(config.every, budget))
        policy = DensityPolicy(
            name="default",
            start=scale_step(config.start, budget),
            stop=scale_step(config.stop, budget),
            every=every,
            grow_gradient=config.grow_gradient,
            prune_opacity=config.prune_opacity,
            max_gaussians=config.max_gaussians,
        )
        policy = replace(policy, **self.density_details())
        optimisers = {name: inner[name] for name in ATTRIBUTES}
        control = DensityControl(policy, self.gaussians, optimisers, self.carried)
        if self._density_state is not None:
            control.load_state_dict(self._density_state)
        return control

    def _schedules(self) -> dict[str, Schedule]:
        config, frames = self.config, len(self.context.train_frames)
        rows = {n: row for n, row in config.method.schedule.items() if n != "exposure" or config.data.exposure}
        return {n: scaled(n, row, config.budget, frames, config.data.pose_slack) for n, row in rows.items()}

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    _density_state: dict[str, Any] | None = None
    _info: dict[str, Any]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The body is named, not stored: it is licensed, large and does not change."""
        checkpoint["body"] = {"name": self.body.name, "checksum": self.body.checksum}
        checkpoint["density"] = None if self.density is None else self.density.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the count first; weights, optimisers and density state follow.

        Raises:
            UserError: the checkpoint was made with another body model.
        """
        made_with, here = checkpoint["body"], {"name": self.body.name, "checksum": self.body.checksum}
        if made_with != here:
            describe = "{name} ({checksum:.12})".format
            raise UserError(
                "body",
                describe(**here),
                f"{describe(**made_with)}, which the checkpoint was made with",
                "give that model by body=... body.path=..., or start anew with run.fresh=true",
            )
        self.step = checkpoint["global_step"]
        state = checkpoint["state_dict"]
        for name in ATTRIBUTES:
            self.gaussians[name] = nn.Parameter(torch.empty_like(state[f"gaussians.{name}"], device=self.device))
        self.carry({name: state[f"carried_{name}"].to(self.device) for name in self.carried})
        self._density_state = checkpoint["density"]
