"""Training of drivers that foretell parts of a pose, or action units: all that their networks share.

Parameters are compared in standard deviations, lips in millimetres on the body's own surface, and motion by its first
and second differences. Nothing here knows which body it is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim import AdamW

from talkingavatar.body.lips import lips_of, still_lips
from talkingavatar.body.models import Body
from talkingavatar.config.family_options import RigDriver as Options
from talkingavatar.config.rows import ROWS, check_names
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.motion_batches import MotionBatch, MotionData, Sequences, Variation
from talkingavatar.data.motion_clips import MotionClip
from talkingavatar.drivers.card import DriverCard
from talkingavatar.drivers.face_vertices import Components
from talkingavatar.drivers.space import UNITS, space_of
from talkingavatar.drivers.standardise import Standardise
from talkingavatar.drivers.training import DriverTraining, shares_of
from talkingavatar.errors import UserError
from talkingavatar.losses import acceleration_difference, lip_distance, parameter_difference, velocity_difference
from talkingavatar.training.schedule import of_one_group, scale_step
from talkingavatar.training.shared import average_gradients, seed_step
from talkingavatar.training.terms import NONE, weighted

DIFFERENCES = {"params": parameter_difference, "velocity": velocity_difference, "acceleration": acceleration_difference}
GROUP = "network"  # the one row of the schedule table


class RigTraining(DriverTraining):
    """One step trains the sequences of one batch; clip number n is the speaker of style n, the run's own first.

    Whoever inherits sets `network`, whose `shape` is a dataclass of its sizes and whose `style` embeds the speakers.
    """

    name: ClassVar[str]  # in the registry
    lips: Int[Tensor, " V"] | None
    network: Any  # an nn.Module with `shape` and `style`

    def __init__(self, config: FitConfig, body: Body, clips: Sequence[MotionClip], options: Options) -> None:
        """Seeds what comes after: the network is to be made next.

        Raises:
            UserError: a mistake in the terms or the schedule, or clips that are too short.
        """
        super().__init__()
        self.config, self.body, self.clips, self.options = config, body, list(clips), options
        self.space = space_of(body, options.targets)
        self.parts = None if self.space.rig is None else self.space.rig.parts  # goes where the training goes
        self.schedule = of_one_group(
            config.driver.schedule, "driver.schedule", GROUP, config.budget, config.driver.paper_steps
        )
        lips = lips_of(body)
        known = len(lips) > 0 and self.space.rig is not None
        self.register_buffer("lips", lips if known else None, persistent=False)
        self.scalars = NONE
        self.step = 0
        self._check_terms()
        self.skipped = {}
        if self.lips is None and "lips" in config.driver.terms:
            rig = self.space.rig is not None
            self.skipped["driver/loss/lips"] = (
                f"{body.name} does not know its lips" if rig else "action units move no lips"
            )
        shares = shares_of(self.clips, options.own_share)
        turn, kinds = self.components() or (None, None)
        self.standard = Standardise(len(self.space.names), turn).fit(
            self.space, self.clips, shares, options.least_std, options.least_r, options.most_gain, kinds
        )
        self.data = MotionData(self.clips, self._sequences(shares), config.seed, config.budget.steps)
        torch.manual_seed(config.seed)

    def components(self) -> Components | None:
        """What is foretold in place of the parameters themselves, if anything."""
        return None

    def _check_terms(self) -> None:
        check_names("driver.terms", self.config.driver.terms, "term", ROWS["driver"][self.name].terms)
        able = {*DIFFERENCES} | ({"lips"} if self.lips is not None else set())
        if not any(self.counts(name) for name in able):
            expected = f"one of {', '.join(sorted(able))}"
            raise UserError("driver.terms", "none that counts from the first step", expected, "give one start 0")

    def _sequences(self, shares: Sequence[float]) -> Sequences:
        options = self.options
        heard = self.config.audio.name == "logmel" and options.variation > 0
        variation = Variation().scaled(options.variation) if heard else None
        return Sequences(options.windows, options.length, tuple(shares), variation, options.grain)

    # -- the step ------------------------------------------------------------------------------------------------------

    @abstractmethod
    def foretold(
        self,
        features: Float[Tensor, "N L 16 C"],
        speaker: Int[Tensor, " N"],
        truth: Float[Tensor, "N L P"],
        units: Float[Tensor, "N L 17"] | None = None,
    ) -> Float[Tensor, "N L P"]:
        """What the network makes of the sound, in standard deviations; it may be told something of the truth.

        Args:
            units: action units, where they are known.
        """

    def training_step(self, batch: MotionBatch, batch_idx: int) -> Float[Tensor, ""]:
        values = {name: losses.mean() for name, losses in self.terms(batch).items()}
        total, losses = weighted(values, self.config.driver.terms, self.step)
        self.scalars = losses.under("driver/")
        return total

    def terms(self, batch: MotionBatch) -> dict[str, Float[Tensor, "..."]]:
        """Unreduced losses by the names of the terms' table, of those that count at this step."""
        count, squared = len(batch.speaker), self.options.squared
        truth = self.standard(self.space.read(batch.signal)).unflatten(0, (count, -1))
        units = batch.signal.actions
        given = None if units is None else units.unflatten(0, (count, -1))
        predicted = self.foretold(batch.features, batch.speaker, truth, given)
        losses: dict[str, Float[Tensor, "..."]] = {}
        for name, difference in DIFFERENCES.items():
            if self.counts(name):
                losses[name] = difference(predicted, truth, squared) * self.standard.audible
        if self.counts("lips") and self.lips is not None and (rig := self.space.rig) is not None:
            values = self.standard.back(self._completed(predicted, truth).flatten(0, 1))
            rows = (values, rig.read(batch.signal))
            losses["lips"] = lip_distance(*(still_lips(self.body, rig.parts, self.lips, r, batch.pose) for r in rows))
        return losses

    def counts(self, term: str) -> bool:
        """Whether a term has a weight and has started."""
        config, row = self.config, self.config.driver.terms.get(term)
        return row is not None and row.weight > 0 and self.step >= scale_step(row.start, config.driver, config.budget)

    def _completed(self, predicted: Float[Tensor, "N L P"], truth: Float[Tensor, "N L P"]) -> Float[Tensor, "N L P"]:
        """What is not foretold is lent by the truth: the jaw is not to make up for a smile."""
        return torch.where(self.standard.audible > 0, predicted, truth)

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
            driver=self.name,
            shape=asdict(self.network.shape),
            targets=[UNITS] if self.space.rig is None else list(self.space.rig.parts.parts),
            names=self.space.names,
            speakers=[clip.name for clip in self.clips],
            features=self.config.audio.name,
            output=self.config.audio.output,
            fps=float(self.clips[0].fps),
            body=self.body.name,
            checksum=self.body.checksum,
            variable="expression" if self.standard.turn is None else "vertices",
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
