"""Training of Audio2Param: from speech features to those parts of a pose that sound tells of.

Parameters are compared in standard deviations, lips in millimetres on the body's own surface, and motion by its first
and second differences. Once an avatar is there, a term on what it draws (`RenderTerm`) can join. Nothing here knows
which body it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast, final

import lightning as L
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim import AdamW

from talkingavatar.audio.told import told_by_sound
from talkingavatar.body.models import Body
from talkingavatar.body.pose_parts import PoseParts
from talkingavatar.config.options import read_options
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.motion_batches import MotionBatch
from talkingavatar.data.motion_clips import MotionClip
from talkingavatar.data.sampler import frames_of_step
from talkingavatar.errors import UserError
from talkingavatar.losses import acceleration_difference, lip_distance, parameter_difference, velocity_difference
from talkingavatar.networks.audio2param import FEEDBACK, Audio2Param, Shape
from talkingavatar.training.schedule import Schedule
from talkingavatar.training.shared import average_gradients
from talkingavatar.training.terms import weighted
from talkingavatar.types import BodyPose

DIFFERENCES = {"params": parameter_difference, "velocity": velocity_difference, "acceleration": acceleration_difference}
TERMS = (*DIFFERENCES, "lips", "render")
GROUP = "network"  # the one row of the schedule table
LIPS = ("lip_outer_upper", "lip_outer_lower", "lip_inner_upper", "lip_inner_lower")
FIELD = "driver.options"


@dataclass
class Options:
    """`driver.options` of Audio2Param; conf/driver/audio2param.yaml says what each means."""

    targets: list[str] = field(default_factory=lambda: ["jaw", "mouth"])
    identities: list[int] = field(default_factory=lambda: [0, 1, 2])
    captures: list[str] = field(default_factory=list)
    own_share: float = 0.2
    width: int = 128
    heads: int = 4
    encoder_layers: int = 2
    decoder_layers: int = 1
    past: int = 8
    look: int = 1
    align: int = 1
    feedback: str = "none"
    smooth: float = 1.0
    dropout: float = 0.3
    windows: int = 8
    length: int = 75
    variation: float = 1.0
    grain: float = 2.0
    squared: bool = True
    least_std: float = 0.2
    least_r: float = 0.1
    most_gain: float = 2.0
    weight_decay: float = 0.01


@dataclass(frozen=True)
class RenderTerm:
    """What an avatar draws of a foretold pose, against its picture.

    `loss(pose, frame)` is given one frame's pose with the foretold parts in it and that frame's number in the run's own
    capture, and returns unreduced losses; `frames` are those that have pictures to train on.
    """

    loss: Callable[[BodyPose, int], Tensor]
    frames: list[int]


def driver_options(given: dict[str, Any]) -> Options:
    """Options from configuration.

    Raises:
        UserError: an unknown name, or a value of the wrong type or size.
    """
    options = read_options(Options(), given, FIELD)
    least = {
        "width": 8, "heads": 1, "encoder_layers": 1, "decoder_layers": 1, "past": 1, "look": 0, "align": 0,
        "windows": 1, "length": 8, "smooth": 0, "dropout": 0, "variation": 0, "grain": 0, "least_std": 0,
        "most_gain": 1, "weight_decay": 0,
    }  # fmt: skip
    for name, value in least.items():
        if getattr(options, name) < value:
            raise UserError(f"{FIELD}.{name}", str(getattr(options, name)), f"at least {value}", "raise it")
    for name, most in {"dropout": 0.9, "own_share": 1.0, "least_std": 1.0, "least_r": 1.0}.items():
        if not 0 <= getattr(options, name) <= most:
            raise UserError(f"{FIELD}.{name}", str(getattr(options, name)), f"between 0 and {most:g}", "correct it")
    if options.feedback not in FEEDBACK:
        raise UserError(f"{FIELD}.feedback", repr(options.feedback), f"one of {', '.join(FEEDBACK)}", "correct it")
    if options.width % options.heads:
        found = f"{options.width} for {options.heads} heads"
        raise UserError(f"{FIELD}.width", found, "as much for each head", "give a multiple of the heads")
    return options


def shape_of(options: Options, channels: int, outputs: int, speakers: int) -> Shape:
    """The network's sizes: those of the options, and of what it is for."""
    given = {name: getattr(options, name) for name in Shape.__dataclass_fields__ if hasattr(options, name)}
    return Shape(channels=channels, outputs=outputs, speakers=speakers, **given)


@final
class Audio2ParamTraining(L.LightningModule):
    """One step trains the sequences of one batch; clip number n is the speaker of style n, the run's own first."""

    mean: Float[Tensor, " P"]
    std: Float[Tensor, " P"]
    told: Float[Tensor, " P"]  # weight of each parameter; 0 for those that sound says nothing about
    gain: Float[Tensor, " P"]  # what a trained driver's motion is raised by
    lips: Int[Tensor, " V"] | None

    def __init__(
        self,
        config: FitConfig,
        body: Body,
        clips: Sequence[MotionClip],
        shares: Sequence[float],
        render: RenderTerm | None = None,
    ) -> None:
        """
        Args:
            shares: of each clip in what is trained on.

        Raises:
            UserError: a mistake in the options, the terms or the schedule.
        """
        super().__init__()
        self.config, self.body, self.clips, self.render = config, body, list(clips), render
        self.options = driver_options(config.driver.options)
        self.parts = PoseParts(body, self.options.targets)
        self.schedule = _schedule(config)
        lips = lips_of(body)
        # A body that does not know its lips is trained without their term.
        self.register_buffer("lips", lips if len(lips) else None, persistent=False)
        self.scalars: dict[str, float] = {}  # of the last step, for whoever logs
        self.step = 0
        self._check_terms()
        mean, std = _statistics(self.parts, self.clips, shares, self.options.least_std)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        told, gain = self._told()
        self.register_buffer("told", told)
        self.register_buffer("gain", gain)
        torch.manual_seed(config.seed)
        channels = self.clips[0].features.shape[-1]
        self.network = Audio2Param(shape_of(self.options, channels, len(self.parts), len(self.clips)))

    def _check_terms(self) -> None:
        for name in self.config.driver.terms:
            if name not in TERMS:
                raise UserError(f"driver.terms.{name}", "an unknown term", f"one of {', '.join(TERMS)}", "correct it")
        able = {*DIFFERENCES} | ({"lips"} if self.lips is not None else set())
        if not any(self.counts(name) for name in able):
            expected = f"one of {', '.join(sorted(able))}"
            raise UserError("driver.terms", "none that counts from the first step", expected, "give one start 0")

    @torch.no_grad()
    def _told(self) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
        """Weights of mean 1, in proportion to how well a linear guess follows each parameter, and gains.

        A parameter that sound says nothing about can only be learned by heart. It stays at its mean. Of one that sound
        tells with correlation r, the best guess moves r times as far: all of speech would look mumbled. The gain gives
        the motion its extent back, where that does not raise the errors beyond `most_gain`.
        """
        stretches = [
            (clip.features[a:b], self.parts.read(clip.pose[a:b])) for clip in self.clips for a, b in clip.train
        ]
        r = told_by_sound(stretches)
        gain = (1 / r.clamp_min(1e-3)).clamp(1.0, self.options.most_gain)
        told = torch.where(r >= self.options.least_r, r, 0.0)
        if self.options.least_r == 0 or not told.any():
            return torch.ones_like(r), gain
        # Fed back to itself, the network may keep what it likes in the outputs that count for nothing.
        return told / told.mean(), torch.where(told > 0, gain, 0.0)

    # -- the step ------------------------------------------------------------------------------------------------------

    def training_step(self, batch: MotionBatch, batch_idx: int) -> Float[Tensor, ""]:
        values = {name: losses.mean() for name, losses in self.terms(batch).items()}
        total, losses = weighted(values, self.config.driver.terms, self.step)
        self.scalars = {f"driver/{name}": value for name, value in losses.items()}
        return total

    def terms(self, batch: MotionBatch) -> dict[str, Float[Tensor, "..."]]:
        """Unreduced losses by the names of the terms' table, of those that count at this step."""
        count, squared = len(batch.speaker), self.options.squared
        truth = self.standard(self.parts.read(batch.pose)).unflatten(0, (count, -1))
        predicted = self._foretold(batch.features, batch.speaker, truth)
        losses: dict[str, Float[Tensor, "..."]] = {}
        for name, difference in DIFFERENCES.items():
            if self.counts(name):
                losses[name] = difference(predicted, truth, squared) * self.told
        if self.counts("lips") and self.lips is not None:
            values = self.parameters_of(self._completed(predicted, truth).flatten(0, 1))
            losses["lips"] = lip_distances(self.body, self.parts, self.lips, values, batch.pose)
        if self.counts("render") and self.render is not None:
            losses["render"] = self._drawn(self.render)
        return losses

    def counts(self, term: str) -> bool:
        """Whether a term has a weight and has started."""
        row = self.config.driver.terms.get(term)
        return row is not None and row.weight > 0 and self.step >= row.start

    def standard(self, values: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """Parameters in standard deviations from their mean."""
        return (values - self.mean) / self.std

    def parameters_of(self, standard: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """Back to radians and coefficients."""
        return self.mean + self.std * standard

    def _foretold(
        self, features: Float[Tensor, "N L 16 C"], speaker: Int[Tensor, " N"], truth: Float[Tensor, "N L P"]
    ) -> Float[Tensor, "N L P"]:
        """The network's output, which may be fed back the truth, but of what sound tells only."""
        return self.network(features, speaker, truth * (self.told > 0))

    def _completed(self, predicted: Float[Tensor, "N L P"], truth: Float[Tensor, "N L P"]) -> Float[Tensor, "N L P"]:
        """What is not foretold is lent by the truth: the jaw is not to make up for a smile."""
        return torch.where(self.told > 0, predicted, truth)

    def _drawn(self, render: RenderTerm) -> Float[Tensor, "..."]:
        """What the avatar draws of one training frame, foretold from the sound round it."""
        (frame,) = frames_of_step(render.frames, self.config.seed, self.step)
        own = self.clips[0]
        first, last = next(shot for shot in own.shots if shot[0] <= frame < shot[1])
        first, last = max(first, frame - self.network.past), min(last, frame + self.network.ahead + 1)
        features = own.features[None, first:last].to(self.device)
        truth = self.standard(self.parts.read(own.pose[first:last].to(self.device)))[None]
        foretold = self._foretold(features, torch.zeros(1, dtype=torch.long, device=self.device), truth)
        values = self.parameters_of(self._completed(foretold, truth)[0, frame - first : frame - first + 1])
        return render.loss(self.parts.write(own.pose[frame : frame + 1].to(self.device), values), frame)

    def on_train_batch_start(self, batch: MotionBatch, batch_idx: int) -> None:
        # The step alone decides every random number in it, so that resuming needs no generator's state.
        self.step = self.global_step
        numbers = (self.config.seed * 1_000_003 + self.step) * self.trainer.world_size + self.global_rank
        torch.manual_seed(numbers)
        optimiser = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimiser, AdamW)
        for group in optimiser.param_groups:
            group["lr"] = self.schedule.rate(self.step)

    def on_after_backward(self) -> None:
        average_gradients(self.parameters())

    def configure_optimizers(self) -> AdamW:
        decay = self.options.weight_decay
        return AdamW(self.network.parameters(), lr=self.schedule.lr, weight_decay=decay, fused=True)

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def description(self) -> dict[str, Any]:
        """What the weights are for: enough to use them without this training."""
        audio = self.config.audio
        return {
            "shape": asdict(self.network.shape),
            "targets": list(self.parts.parts),
            "names": self.parts.names,
            "speakers": [clip.name for clip in self.clips],
            "features": {"name": audio.name, "output": audio.output},
            "fps": float(self.clips[0].fps),
            "body": {"name": self.body.name, "checksum": self.body.checksum},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["driver"] = self.description()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """
        Raises:
            UserError: the checkpoint is no driver's, or one for other speakers, parts, features or body.
        """
        check_description(checkpoint, self.description())

    def adopt(self, content: dict[str, Any]) -> None:
        """Start from another run's driver: its weights and statistics; new speakers begin with the mean of its styles.

        Args:
            content: of that run's checkpoint.

        Raises:
            UserError: it is no driver's, or one of another shape, for other parts, features or body.
        """
        mine = self.description()
        check_description(content, mine, without=("speakers",))
        known, state = content["driver"]["speakers"], dict(content["state_dict"])
        styles = state["network.style.weight"]
        rows = [styles[known.index(name)] if name in known else styles.mean(0) for name in mine["speakers"]]
        state["network.style.weight"] = torch.stack(rows)
        self.load_state_dict(state)


def check_description(checkpoint: dict[str, Any], here: dict[str, Any], without: tuple[str, ...] = ()) -> None:
    """
    Raises:
        UserError: a checkpoint is no driver's or was made for something else than what is `here`.
    """
    if "driver" not in checkpoint:
        raise UserError(
            "driver", "a checkpoint of something else", "a driver's", "give driver.ckpt of a run of a driver"
        )
    there = dict(checkpoint["driver"])
    if there["body"] != here["body"]:
        describe = "{name} ({checksum:.12})".format
        raise UserError(
            "body",
            describe(**here["body"]),
            f"{describe(**there['body'])}, which the driver's checkpoint was made with",
            "give that model by body=... body.path=..., or train the driver anew",
        )
    shapes = [{k: v for k, v in given["shape"].items() if k not in ("speakers", "dropout")} for given in (there, here)]
    for key in ("targets", "names", "speakers", "features", "fps"):
        if key not in without and there[key] != here[key]:
            expected = f"{there[key]}, which the driver's checkpoint was made with"
            raise UserError(f"driver: {key}", str(here[key]), expected, "give the same, or train the driver anew")
    for name, value in shapes[0].items():
        if value != shapes[1][name]:
            expected = f"{value}, which the driver's checkpoint was made with"
            raise UserError(f"{FIELD}.{name}", str(shapes[1][name]), expected, "give the same, or train it anew")


def lips_of(body: Body) -> Int[Tensor, " V"]:
    """Vertices of the lips; none of a body that does not know them."""
    return torch.cat([body.regions[name] for name in LIPS]).unique()


def lip_distances(
    body: Body, parts: PoseParts, lips: Int[Tensor, " V"], values: Float[Tensor, "B P"], pose: BodyPose
) -> Float[Tensor, "B V"]:
    """Millimetres between the lips of foretold parameters and of a pose, the head held still."""
    still = replace(pose, full_pose=torch.zeros_like(pose.full_pose), transl=torch.zeros_like(pose.transl))
    foretold, truth = (body(parts.write(still, rows), lips)[0] for rows in (values, parts.read(pose)))
    return lip_distance(foretold, truth)


def _schedule(config: FitConfig) -> Schedule:
    table = config.driver.schedule
    if set(table) != {GROUP}:
        raise UserError("driver.schedule", ", ".join(table) or "nothing", f"one row, {GROUP}", "correct it")
    row = table[GROUP]
    if row.lr <= 0 or row.lr_end <= 0:
        raise UserError(f"driver.schedule.{GROUP}.lr", f"{row.lr}, {row.lr_end}", "positive rates", "correct it")
    return Schedule(row.start, row.lr, row.lr_end, config.driver.steps)


@torch.no_grad()
def _statistics(
    parts: PoseParts, clips: Sequence[MotionClip], shares: Sequence[float], least: float
) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
    """Mean and standard deviation of what is trained on.

    Parameters that hardly move hold a tracker's noise; in standard deviations they would weigh as much as the jaw. No
    deviation is taken as smaller than the share `least` of the largest of its kind (angles, coefficients).
    """
    weights = torch.tensor(shares, dtype=torch.float32) / sum(shares)
    frames = [torch.cat([parts.read(clip.pose[start:stop]) for start, stop in clip.train]) for clip in clips]
    means = torch.stack([rows.mean(0) for rows in frames])
    mean = weights @ means
    squares = torch.stack([(rows - mean).square().mean(0) for rows in frames])
    std = (weights @ squares).sqrt()
    split = 3 * len(parts.joints)
    floors = [part.max() * least for part in (std[:split], std[split:]) if len(part)]
    counts = [len(part) for part in (std[:split], std[split:]) if len(part)]
    floor = torch.cat([value.expand(count) for value, count in zip(floors, counts, strict=True)])
    return mean, cast(Tensor, torch.maximum(std, floor).clamp_min(1e-6))
