"""What happens round the steps of a fit: saving, stopping, logging, progress."""

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import lightning as L

from talkingavatar.config.schema import FitConfig, TrainerConfig
from talkingavatar.engine.run import checkpoint
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.stages.stage import Stage
from talkingavatar.engine.tracking.tracker import Tracker
from talkingavatar.runtime.progress import ProgressBar
from talkingavatar.runtime.signals import StopFlag

SECONDS = 30.0  # from one checkpoint to the next
ASKED = 8  # steps after which processes that share them ask each other: to answer, each waits for its GPU


@dataclass(frozen=True)
class Place:
    """Where a stage stands in its run."""

    stage: str
    before: int  # steps of the stages before it
    steps: int  # of the whole run


class Checkpoints(L.Callback):
    """Saves now and then, at the end, and when a warning signal has come, always between two steps.

    By the clock, unless a number of steps is given: whatever the machine, saving takes a small share of the time.
    """

    def __init__(self, run: RunDirectory, fitted: Stage, flag: StopFlag, config: FitConfig, place: Place) -> None:
        self.run, self.fitted, self.flag, self.place = run, fitted, flag, place
        self.file = run.checkpoint(fitted.name)
        self.every, self.stop_after = config.trainer.checkpoint_every, config.run.stop_after

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.flag.install()
        self.saved = time.monotonic()
        first = trainer.strategy.broadcast(trainer.global_step)
        if first != trainer.global_step:
            raise RuntimeError(f"the leading process continues at step {first}, this one at {trainer.global_step}")

    def on_train_batch_end(self, trainer: L.Trainer, *rest: Any) -> None:
        step = trainer.global_step
        whole = self.place.before + step
        stop, save = self._asked_for(trainer, step, whole)
        if not stop and not save:
            return
        self.fitted.scalars()  # where the loss is not finite, nothing is saved
        checkpoint.save(trainer, self.file)
        self.saved = time.monotonic()
        if trainer.is_global_zero:
            self.run.status("running", step=whole, steps=self.place.steps)
        trainer.should_stop |= stop

    def _asked_for(self, trainer: L.Trainer, step: int, whole: int) -> tuple[bool, bool]:
        """Whether to stop, and whether to save: the same in all processes."""
        stop = self.stop_after is not None and whole >= self.stop_after
        save = step >= trainer.max_steps or (self.every is not None and step % self.every == 0)
        if trainer.world_size == 1 or step % ASKED == 0 or stop or save:
            # A signal to one process is one to all, and so is its clock.
            any_of = partial(trainer.strategy.reduce_boolean_decision, all=False)
            stop = any_of(stop or self.flag.signal is not None)
            save = any_of(save or (self.every is None and time.monotonic() - self.saved >= SECONDS))
        return stop, save


class Journal(L.Callback):
    """Scalars to metrics.jsonl and the tracker, a live held-out reading, and the progress bar."""

    def __init__(self, run: RunDirectory, tracker: Tracker, fitted: Stage, config: TrainerConfig, place: Place) -> None:
        self.run, self.tracker, self.fitted, self.place = run, tracker, fitted, place
        self.trainer_config = config
        self.note = ""
        self.seconds = 0.0
        self.steps = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.run.truncate_metrics(self.place.before + trainer.global_step)
        steps = trainer.max_steps
        title = "fit" if steps == self.place.steps else f"fit {self.place.stage}"
        self.bar = ProgressBar(title, steps, self.trainer_config.progress, done=trainer.global_step).__enter__()
        self.began = self.last = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *rest: Any) -> None:
        now = time.perf_counter()
        self.seconds, self.steps = self.seconds + now - self.last, self.steps + 1
        step, reading = trainer.global_step, dict[str, float]()
        previewed = step % self.trainer_config.preview_every == 0 or step >= trainer.max_steps
        if previewed:
            reading, self.note = self.fitted.preview()
        if previewed or step % self.trainer_config.log_every == 0:
            rates = {f"lr/{name}": rate for name, rate in self.fitted.rates(step - 1).items()}
            scalars = self.fitted.scalars() | reading | rates | {"steps_per_s": self.steps / max(1e-9, self.seconds)}
            self.run.log(self.place.before + step, scalars)
            self.tracker.follow()
        self.bar.advance(self.note)
        self.last = time.perf_counter()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if hasattr(self, "bar"):
            self.bar.__exit__()
