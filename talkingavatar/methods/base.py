"""What every method shares: rendering, weighting, the step, density, checkpoints of a changing number of Gaussians."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import lightning as L
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim import Adam

from talkingavatar.body.models import Body
from talkingavatar.config.family_options import OPTIONS
from talkingavatar.config.options import read_options
from talkingavatar.config.rows import GROUPS, TERMS, check_names
from talkingavatar.config.schema import DensityConfig, FitConfig
from talkingavatar.errors import UserError
from talkingavatar.losses import dssim, l1, normal_consistency
from talkingavatar.methods.baking import Baking, not_baked
from talkingavatar.methods.context import MethodContext
from talkingavatar.methods.knobs import Knob, expression_knob
from talkingavatar.methods.shutter import moments
from talkingavatar.methods.stored import check_gaussians
from talkingavatar.networks.exposure import Exposure
from talkingavatar.splatting import answered, rasterise
from talkingavatar.splatting.density import DensityControl, DensityPolicy
from talkingavatar.training.critic import Critic
from talkingavatar.training.optimisers import NamedOptimisers, adams
from talkingavatar.training.schedule import Schedule, scale_step, scaled
from talkingavatar.training.shared import average_gradients, gathered, seed_step
from talkingavatar.training.terms import NONE, Scalars, weighted
from talkingavatar.types import Batch, BodyPose, Cameras, DrivingSignal, Gaussians, Layers, Rendering, Shot

SHOWN = "shown"  # the layer and the shot of methods that have one


class Method(L.LightningModule, ABC):
    """Turns a driving signal into Gaussians. Each family is one final class.

    `gaussians` holds the raw attributes (log scales, logit opacities) and what further floats a family learns for each
    Gaussian; `carried` the integer tensors, a row a Gaussian. All of them follow it through clone, split and prune.
    """

    layers: ClassVar[tuple[str, ...]] = (SHOWN,)  # names of what `deform` gives; the last one is shown
    group_names: ClassVar[tuple[str, ...]] = GROUPS  # of everything that has learning rates; a family adds its own
    term_names: ClassVar[tuple[str, ...]] = TERMS  # of its losses

    gaussians: nn.ParameterDict
    body: Body
    background: Tensor

    def __init__(self, context: MethodContext) -> None:
        super().__init__()
        self.context = context
        self.config = context.config
        self.body = context.body
        self.scalars = NONE  # of the last step, for whoever logs
        self.step = 0  # of the run so far; outlives the trainer, which a loaded checkpoint does not have
        self.row_of_frame = {frame: row for row, frame in enumerate(context.train_frames)}
        self.register_buffer("background", torch.tensor(self.config.renderer.background), persistent=False)
        self._blurred: dict[tuple[int, str], bool] = {}
        self.exposure = Exposure(len(context.train_frames)) if self.config.data.exposure else None
        self.schedules = self._schedules()
        self.density: DensityControl | None = None

    @classmethod
    def check(cls, config: FitConfig) -> None:
        """Look at options, schedule and losses before anything is built. UserError: a mistake in them."""
        if config.method.name in OPTIONS["method"]:  # another package's reads its own
            read_options(OPTIONS["method"][config.method.name](), config.method.options)
        check_names("method.schedule", config.method.schedule, "group", cls.group_names)
        check_names("loss.terms", config.loss.terms, "term", cls.term_names)

    def begin(self) -> None:
        """Start from what training frames show. A checkpoint holds what comes of it: who loads one need not."""

    def facts(self) -> dict[str, float]:
        """What is to be told of the fitted Gaussians beside their pictures, by key."""
        return {}

    @abstractmethod
    def deform(self, signal: DrivingSignal) -> Layers:
        """World-space Gaussians of one frame (B = 1), by layer."""

    def drive(self, signal: DrivingSignal) -> Gaussians:
        """World-space Gaussians of one frame (B = 1) as they are shown: the last of `deform`'s layers."""
        return self.deform(signal)[self.layers[-1]]

    def bake(self, frames: DrivingSignal) -> Baking:
        """The avatar as arrays, fitted to frames of the capture where it is none already. UserError: it is never."""
        raise not_baked(self.config.method.name)

    def shots(self, batch: Batch) -> dict[str, Shot]:
        """The views that a step draws of one frame (B = 1), by name: what is shown, as the frame's camera sees it."""
        return {SHOWN: Shot(self.layers[-1], batch.cameras, batch.background)}

    def critic(self) -> Critic | None:
        """A loss that learns, if there is one; its groups are this method's own."""
        return None

    def knobs(self) -> list[Knob]:
        """What one may turn by hand: each expression coefficient, all else neutral."""
        return [expression_knob(i, name, self.reposed) for i, name in enumerate(self.body.expression_names)]

    def nudged(
        self, signal: DrivingSignal, turned: Float[Tensor, "B J 3"], moved: Float[Tensor, "B 3"]
    ) -> DrivingSignal:
        """The signal with the body's joints turned (radians) and the whole moved (metres), to align it to a picture."""
        pose = replace(signal.pose, full_pose=signal.pose.full_pose + turned, transl=signal.pose.transl + moved)
        return self.reposed(signal, pose)

    def reposed(self, signal: DrivingSignal, pose: BodyPose) -> DrivingSignal:
        """The signal in another pose than the recorded one."""
        return replace(signal, pose=pose)

    def refined_pose(self, signal: DrivingSignal) -> BodyPose:
        """The pose a frame is drawn in; a method that learns about the pose of its training frames tells it here."""
        return signal.pose

    def frame_row(self, signal: DrivingSignal) -> int:
        """The frame's row in tables of what is learned about each training frame; -1 for all other frames."""
        return self.row_of_frame.get(int(signal.frame[0]), -1)

    @abstractmethod
    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The groups besides the Gaussians' own, by name: empty where an option says, trained where a schedule does."""

    @property
    @abstractmethod
    def carried(self) -> dict[str, Int[Tensor, " N"]]:
        """Per-Gaussian integers that density control must carry along."""

    @property
    @abstractmethod
    def numbered(self) -> dict[str, int]:
        """How many there are of what each carried integer numbers."""

    @abstractmethod
    def carry(self, carried: dict[str, Int[Tensor, " N"]]) -> None:
        """Take what density control carried."""

    def terms(self, drawn: dict[str, Rendering], batch: Batch) -> dict[str, Float[Tensor, "..."]]:
        """Unreduced losses by the names of the loss table, of one frame's shots; a family adds its own."""
        return self.image_terms(drawn[SHOWN], batch)

    def image_terms(self, rendering: Rendering, batch: Batch) -> dict[str, Float[Tensor, "..."]]:
        """Those between a shot and the frame."""
        terms = self.pixel_terms(rendering, batch)
        if self.counts("normal") and rendering.normals is not None and rendering.depth_normals is not None:
            terms["normal"] = normal_consistency(rendering.normals, rendering.depth_normals)
        if self.counts("matte"):
            terms["matte"] = l1(rendering.alpha, batch.matte)
        return terms

    @staticmethod
    def pixel_terms(rendering: Rendering, batch: Batch) -> dict[str, Float[Tensor, "..."]]:
        """L1 and DSSIM; the batch's weights count."""
        terms = {"l1": l1(rendering.rgb, batch.image), "dssim": dssim(rendering.rgb, batch.image)}
        return terms if batch.weight is None else {name: batch.weight * values for name, values in terms.items()}

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
        behind, drawn = self.background if background is None else background, self.config.renderer
        return rasterise(self.seen(gaussians, cameras), cameras, behind, drawn.mode, drawn.backend)

    def seen(self, gaussians: Gaussians, cameras: Cameras) -> Gaussians:
        """What of the Gaussians is drawn, and where: a family may say it for a single camera."""
        return gaussians

    # -- the step ------------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        """The loss of the last frame's share; those of the frames before it have left their gradients already.

        So one frame's graph is held at a time, and gradients are summed frame by frame, as processes would.
        """
        self.zero_grad()
        self._views, self._answers, told = [], [], []
        for i in range(len(batch)):
            loss, scalars = weighted(self._losses(batch.frame(i)), self.config.loss.terms, self.step)
            told.append(scalars)
            if i + 1 < len(batch):
                (loss / len(batch)).backward()
        means = torch.stack([scalars.tensor for scalars in told]).mean(0)
        self.scalars = Scalars(told[0].names, means, self.step, {"gaussians": float(len(self.gaussians["means"]))})
        return loss / len(batch)

    def optimizer_zero_grad(self, *rest: Any) -> None:
        """Done before the first frame of a step."""

    def _losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Means of the terms that count, of one frame."""
        shots = self.shots(batch)
        signals = moments(batch, self.config.data.shutter, self.body, self._blurred)
        layers = [self._layers(signal) for signal in signals]
        moments_drawn = [self._drawn(layer, shots) for layer in layers]
        drawn = moments_drawn[0]
        if len(moments_drawn) > 1:
            drawn = {
                name: replace(shot, rgb=torch.stack([moment[name].rgb for moment in moments_drawn]).mean(0))
                for name, shot in drawn.items()
            }
        if self.density is not None:
            growing = [name for name, shot in shots.items() if shot.grows and not shot.frozen]
            views = [[moment[name].info for moment in moments_drawn] for name in growing]
            self.density.before_backward(self.step, views)
            self._views.append(views)
            if self.density.asks(self.step):
                self._answers += [self._answered(layers, shots[name], drawn[name], batch) for name in growing]
        # Not `mean`, whose gradient is written out for every pixel; a sum's is one number (losses.image_cpu).
        terms = self.terms(drawn, batch).items()
        return {name: values.sum() / values.numel() for name, values in terms if self.counts(name)}

    def _layers(self, signal: DrivingSignal) -> Layers:
        """Under the exposure learned for the frame."""
        layers = self.deform(signal)
        if self.exposure is not None and self.started("exposure"):
            layers = {name: self.exposure(gaussians, self.frame_row(signal)) for name, gaussians in layers.items()}
        return layers

    def _drawn(self, layers: Layers, shots: dict[str, Shot]) -> dict[str, Rendering]:
        """The shots of one frame."""
        shown = {name: layers[s.layer].detach() if s.frozen else layers[s.layer] for name, s in shots.items()}
        return {name: self.render(shown[name], s.cameras, s.background) for name, s in shots.items()}

    def _answered(self, layers: list[Layers], shot: Shot, rendering: Rendering, batch: Batch) -> Float[Tensor, " N"]:
        """What each Gaussian answers for of a shot's error, where its drawings' mean is compared with the frame."""
        draw = partial(self.render, cameras=shot.cameras, background=shot.background)
        with torch.no_grad():
            error = dssim(rendering.rgb, batch.image).mean(-1, keepdim=True)
            error = error if batch.weight is None else batch.weight * error
        return torch.stack([answered(layer[shot.layer], error, draw) for layer in layers]).mean(0)

    def counts(self, term: str) -> bool:
        """Whether a loss term has a weight, has started and is of this step."""
        row = self.config.loss.terms.get(term)
        started = row is not None and row.weight > 0 and self.step >= self.paper_step(row.start)
        return started and row is not None and self.step % row.every == 0

    def paper_step(self, step: int) -> int:
        """A step of the paper's run in this budget."""
        return scale_step(step, self.config.method, self.config.budget)

    def started(self, group: str) -> bool:
        """Whether a parameter group has left its frozen part."""
        return group in self.schedules and self.step >= self.schedules[group].start

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        self.step = self.global_step
        seed_step(self.config.seed, self.step)
        optimisers = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimisers, NamedOptimisers)
        apart = self._critic_groups()
        for name, schedule in self.schedules.items():
            rate = schedule.rate(self.step)
            optimisers.set_rate(name, rate)
            for parameter in optimisers.parameters_of(name):
                parameter.requires_grad_(rate > 0 and name not in apart)

    def on_after_backward(self) -> None:
        average_gradients(self.parameters())

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        optimizer.step(closure=optimizer_closure, without=self._critic_groups())
        # Inside the optimiser's step, so that no checkpoint falls in between.
        if (critic := self.critic()) is not None:
            self._step_critic(critic)
        if self.density is not None:
            self._control(self.density)

    def _control(self, density: DensityControl) -> None:
        """Tell what the step has shown, of all processes; take what has become of the Gaussians."""
        views = [view for frame in self._views for view in frame]
        seen = gathered(density.seen(self.step, views, len(self._views)), 1)
        answers = gathered(torch.stack(self._answers), 0) if self._answers else None
        density.after_step(self.step, seen, answers)
        self.carry(density.carried)

    def _critic_groups(self) -> tuple[str, ...]:
        critic = self.critic()
        return () if critic is None else critic.groups

    def _step_critic(self, critic: Critic) -> None:
        """Its own step, on what the method's step has drawn."""
        optimisers = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimisers, NamedOptimisers)
        started = [name for name in critic.groups if self.started(name)]
        parameters = [p for name in started for p in optimisers.parameters_of(name)]
        if not parameters:
            return
        for parameter in parameters:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            gradients = torch.autograd.grad(critic.loss(), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        average_gradients(parameters)
        optimisers.step_groups(started)
        for parameter in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None

    def configure_optimizers(self) -> NamedOptimisers:
        groups = {name: [values] for name, values in self.gaussians.items()} | self.parameter_groups()
        if self.exposure is not None:
            groups["exposure"] = [self.exposure.log_gain]
        self.schedules = {name: schedule for name, schedule in self.schedules.items() if groups[name]}
        self.requires_grad_(False)  # each group's start step sets its own free
        rows = self.config.method.schedule
        inner = adams(groups, {name: rows[name] for name in self.schedules})
        policy = self.density_policy()
        if policy.name != "none":
            self.density = self._density_control(policy, inner)
        return NamedOptimisers(inner)

    def _density_control(self, config: DensityConfig, inner: dict[str, Adam]) -> DensityControl:
        policy = DensityPolicy(
            name="default",
            by=config.by,
            start=self.paper_step(config.start),
            stop=self.paper_step(config.stop),
            every=max(config.min_every, self.paper_step(config.every)),
            grow_gradient=config.grow_gradient,
            prune_opacity=config.prune_opacity,
            max_gaussians=self._most(config),
        )
        policy = replace(policy, **self.density_details())
        control = DensityControl(policy, self.gaussians, {name: inner[name] for name in self.gaussians}, self.carried)
        if self._density_state is not None:
            control.load_state_dict(self._density_state)
        return control

    def _most(self, config: DensityConfig) -> int:
        """Gaussians that there may be: of a CPU no more than it can draw in the time, unless more are asked for."""
        on_cpu = self.gaussians["means"].device.type == "cpu"
        usual = self.config.budget.cpu_gaussians if on_cpu else DensityPolicy.max_gaussians
        return usual if config.max_gaussians is None else config.max_gaussians

    def _schedules(self) -> dict[str, Schedule]:
        config, frames = self.config, len(self.context.train_frames)
        rows = {n: row for n, row in config.method.schedule.items() if n != "exposure" or config.data.exposure}
        return {n: scaled(n, config.method, config.budget, frames, config.data.pose_slack) for n in rows}

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    _density_state: dict[str, Any] | None = None
    _views: list[list[list[dict[str, Any]]]]  # `info` of this step's drawings for density control, by frame and shot
    _answers: list[Tensor]  # of the same frames and shots, where it asks for them

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The body is named, not stored: it is licensed and large. RuntimeError: the loss is not finite."""
        self.scalars.read()
        checkpoint["body"] = {"name": self.body.name, "checksum": self.body.checksum}
        checkpoint["density"] = None if self.density is None else self.density.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the count first; weights, optimisers and density state follow.

        Raises:
            UserError: the checkpoint was made with another body model.
            ValueError, KeyError: as `check_gaussians`.
        """
        made_with, here = checkpoint["body"], {"name": self.body.name, "checksum": self.body.checksum}
        if made_with != here:
            describe = "{name} ({checksum:.12})".format
            expected = f"{describe(**made_with)}, which the checkpoint was made with"
            action = "give that model by body=... body.path=..., or start anew with run.fresh=true"
            raise UserError("body", describe(**here), expected, action)
        self.step = checkpoint["global_step"]
        state = checkpoint["state_dict"]
        policy, first = self.density_policy(), len(self.gaussians["means"])
        most = max(policy.max_gaussians or DensityPolicy.max_gaussians, self.config.budget.cpu_gaussians, first)
        check_gaussians(checkpoint, self.gaussians, self.numbered, most)
        for name in self.gaussians:
            self.gaussians[name] = nn.Parameter(torch.empty_like(state[f"gaussians.{name}"], device=self.device))
        self.carry({name: state[f"carried_{name}"].to(self.device) for name in self.carried})
        self._density_state = checkpoint["density"]
