"""Training of Audio2Param: from speech features to those parts of a pose that sound tells of.

Parameters are compared in standard deviations, lips in millimetres on the body's own surface, and motion by its first
and second differences. Once an avatar is there, a term on what it draws (`RenderTerm`) can join. Nothing here knows
which body it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim import AdamW

from talkingavatar.body.lips import lips_of, still_lips
from talkingavatar.body.models import Body
from talkingavatar.body.pose_parts import PoseParts
from talkingavatar.config.rows import ROWS, check_names
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.motion_batches import MotionBatch, MotionData, Sequences, Variation
from talkingavatar.data.motion_clips import MotionClip
from talkingavatar.data.sampler import frames_of_step
from talkingavatar.drivers.audio2param.options import read, shape_of
from talkingavatar.drivers.card import DriverCard
from talkingavatar.drivers.standardise import Standardise
from talkingavatar.drivers.training import DriverTraining, RenderTerm, shares_of
from talkingavatar.errors import UserError
from talkingavatar.losses import acceleration_difference, lip_distance, parameter_difference, velocity_difference
from talkingavatar.networks.audio2param import Audio2Param
from talkingavatar.training.precision import reduced
from talkingavatar.training.schedule import of_one_group, scale_step
from talkingavatar.training.shared import average_gradients, seed_step
from talkingavatar.training.terms import NONE, weighted
from talkingavatar.types import BodyPose

DIFFERENCES = {"params": parameter_difference, "velocity": velocity_difference, "acceleration": acceleration_difference}
GROUP = "network"  # the one row of the schedule table


@final
class Audio2ParamTraining(DriverTraining):
    """One step trains the sequences of one batch; clip number n is the speaker of style n, the run's own first."""

    lips: Int[Tensor, " V"] | None

    def __init__(
        self, config: FitConfig, body: Body, clips: Sequence[MotionClip], render: RenderTerm | None = None
    ) -> None:
        """
        Raises:
            UserError: a mistake in the options, the terms or the schedule, or clips that are too short.
        """
        super().__init__()
        self.config, self.body, self.clips, self.render = config, body, list(clips), render
        self.options = options = read(config)
        self.parts = PoseParts(body, options.targets)
        self.schedule = of_one_group(
            config.driver.schedule, "driver.schedule", GROUP, config.budget, config.driver.paper_steps
        )
        lips = lips_of(body)
        # A body that does not know its lips is trained without their term.
        self.register_buffer("lips", lips if len(lips) else None, persistent=False)
        self.scalars = NONE
        self.step = 0
        self._own: tuple[Tensor, BodyPose] | None = None
        self._check_terms()
        self.skipped = self._skipped()
        shares = shares_of(self.clips, options.own_share)
        self.standard = Standardise(len(self.parts)).fit(
            self.parts, self.clips, shares, options.least_std, options.least_r, options.most_gain
        )
        torch.manual_seed(config.seed)
        channels = self.clips[0].features.shape[-1]
        self.network = Audio2Param(shape_of(options, channels, len(self.parts), len(self.clips)))
        self.data = MotionData(self.clips, self._sequences(shares), config.seed, config.budget.steps)

    def _check_terms(self) -> None:
        check_names("driver.terms", self.config.driver.terms, "term", ROWS["driver"]["audio2param"].terms)
        able = {*DIFFERENCES} | ({"lips"} if self.lips is not None else set())
        if not any(self.counts(name) for name in able):
            expected = f"one of {', '.join(sorted(able))}"
            raise UserError("driver.terms", "none that counts from the first step", expected, "give one start 0")

    def _skipped(self) -> dict[str, str]:
        rows, skipped = self.config.driver.terms, {}
        if self.lips is None and "lips" in rows:
            skipped["driver/loss/lips"] = f"{self.body.name} does not know its lips"
        if self.render is None and "render" in rows and rows["render"].weight > 0:
            skipped["driver/loss/render"] = "there is no avatar to draw"
        return skipped

    def _sequences(self, shares: Sequence[float]) -> Sequences:
        options = self.options
        heard = self.config.audio.name == "logmel" and options.variation > 0
        variation = Variation().scaled(options.variation) if heard else None
        return Sequences(options.windows, options.length, tuple(shares), variation, options.grain)

    # -- the step ------------------------------------------------------------------------------------------------------

    def training_step(self, batch: MotionBatch, batch_idx: int) -> Float[Tensor, ""]:
        values = {name: losses.mean() for name, losses in self.terms(batch).items()}
        total, losses = weighted(values, self.config.driver.terms, self.step)
        self.scalars = losses.under("driver/")
        return total

    def terms(self, batch: MotionBatch) -> dict[str, Float[Tensor, "..."]]:
        """Unreduced losses by the names of the terms' table, of those that count at this step."""
        count, squared = len(batch.speaker), self.options.squared
        truth = self.standard(self.parts.read(batch.pose)).unflatten(0, (count, -1))
        predicted = self._foretold(batch.features, batch.speaker, truth)
        losses: dict[str, Float[Tensor, "..."]] = {}
        for name, difference in DIFFERENCES.items():
            if self.counts(name):
                losses[name] = difference(predicted, truth, squared) * self.standard.audible
        if self.counts("lips") and self.lips is not None:
            values = self.standard.back(self._completed(predicted, truth).flatten(0, 1))
            rows = (values, self.parts.read(batch.pose))
            losses["lips"] = lip_distance(*(still_lips(self.body, self.parts, self.lips, r, batch.pose) for r in rows))
        if self.counts("render") and self.render is not None:
            losses["render"] = self._drawn(self.render)
        return losses

    def counts(self, term: str) -> bool:
        """Whether a term has a weight and has started."""
        config, row = self.config, self.config.driver.terms.get(term)
        return row is not None and row.weight > 0 and self.step >= scale_step(row.start, config.driver, config.budget)

    def _foretold(
        self, features: Float[Tensor, "N L 16 C"], speaker: Int[Tensor, " N"], truth: Float[Tensor, "N L P"]
    ) -> Float[Tensor, "N L P"]:
        """The network's output, which may be fed back the truth, but of what sound tells only."""
        with reduced(self.config.trainer, self.device):
            return self.network(features, speaker, truth * (self.standard.audible > 0)).float()

    def _completed(self, predicted: Float[Tensor, "N L P"], truth: Float[Tensor, "N L P"]) -> Float[Tensor, "N L P"]:
        """What is not foretold is lent by the truth: the jaw is not to make up for a smile."""
        return torch.where(self.standard.audible > 0, predicted, truth)

    def _drawn(self, render: RenderTerm) -> Float[Tensor, "..."]:
        """What the avatar draws of one training frame, foretold from the sound round it."""
        (frame,) = frames_of_step(render.frames, self.config.seed, self.step)
        own = self.clips[0]
        heard, pose = self._own_clip()
        first, last = next(shot for shot in own.shots if shot[0] <= frame < shot[1])
        first, last = max(first, frame - self.network.past), min(last, frame + self.network.ahead + 1)
        features = heard[None, first:last]
        truth = self.standard(self.parts.read(pose[first:last]))[None]
        foretold = self._foretold(features, torch.zeros(1, dtype=torch.long, device=self.device), truth)
        values = self.standard.back(self._completed(foretold, truth)[0, frame - first : frame - first + 1])
        return render.loss(self.parts.write(pose[frame : frame + 1], values), frame)

    def _own_clip(self) -> tuple[Float[Tensor, "T 16 C"], BodyPose]:
        """Features and poses of the run's own clip, sent to the device once."""
        if self._own is None or self._own[0].device != self.device:
            own = self.clips[0]
            self._own = own.features.to(self.device), own.pose.to(self.device)
        return self._own

    def on_train_batch_start(self, batch: MotionBatch, batch_idx: int) -> None:
        self.step = self.global_step
        seed_step(self.config.seed, self.step, self.global_rank, self.trainer.world_size)
        optimiser = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimiser, AdamW)
        for group in optimiser.param_groups:
            group["lr"] = self.schedule.rate(self.step)

    def on_after_backward(self) -> None:
        average_gradients(self.parameters())

    def configure_optimizers(self) -> AdamW:
        decay = self.options.weight_decay
        return AdamW(self.network.parameters(), lr=self.schedule.lr, weight_decay=decay, fused=True)

    def rates(self, step: int) -> dict[str, float]:
        return {f"driver/{GROUP}": self.schedule.rate(step)}

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    @property
    def card(self) -> DriverCard:
        return DriverCard(
            driver="audio2param",
            shape=asdict(self.network.shape),
            targets=list(self.parts.parts),
            names=self.parts.names,
            speakers=[clip.name for clip in self.clips],
            features=self.config.audio.name,
            output=self.config.audio.output,
            fps=float(self.clips[0].fps),
            body=self.body.name,
            checksum=self.body.checksum,
        )

    def adopt(self, checkpoint: dict[str, Any]) -> None:
        """Its weights and statistics; new speakers begin with the mean of its styles."""
        there = DriverCard.of(checkpoint)
        self.card.check(there, without=("speakers",))
        known, state = there.speakers, dict(checkpoint["state_dict"])
        styles = state["network.style.weight"]
        rows = [styles[known.index(name)] if name in known else styles.mean(0) for name in self.card.speakers]
        state["network.style.weight"] = torch.stack(rows)
        self.load_state_dict(state)
