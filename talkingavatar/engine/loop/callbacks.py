"""What happens round the steps of a fit: saving, stopping, logging, progress."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L

from talkingavatar.config.schema import TrainerConfig
from talkingavatar.engine.run import checkpoint
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.stages.stage import Stage
from talkingavatar.engine.tracking.tracker import Tracker
from talkingavatar.runtime.progress import ProgressBar
from talkingavatar.runtime.signals import StopFlag


@dataclass(frozen=True)
class Place:
    """Where a stage stands in its run."""

    stage: str
    before: int  # steps of the stages before it
    steps: int  # of the whole run


CLOCK = 30.0  # seconds between checkpoints: what a kill may cost, whatever a step takes
AGREED = 10  # steps after which processes that share them hear of each other's signals and clocks


class Checkpoints(L.Callback):
    """Saves every `every` steps, or by the clock where that is 0; at the end; and when a warning signal has come.

    Always between two steps. A checkpoint changes nothing in the training, so its moment need not be the same twice.
    """

    def __init__(
        self, run: RunDirectory, file: Path, flag: StopFlag, every: int, stop_after: int | None, place: Place
    ) -> None:
        self.run, self.file, self.flag, self.every, self.stop_after = run, file, flag, every, stop_after
        self.place = place
        self.resuming = False  # between the data at hand and the first step: what fails then, a checkpoint is to blame

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.resuming = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.resuming = False
        self.flag.install()
        first = trainer.strategy.broadcast(trainer.global_step)
        if first != trainer.global_step:
            raise RuntimeError(f"the leading process continues at step {first}, this one at {trainer.global_step}")
        self.saved = time.monotonic()

    def on_train_batch_end(self, trainer: L.Trainer, *rest: Any) -> None:
        step = trainer.global_step
        whole = self.place.before + step
        stop = self._of_any(trainer, self.flag.signal is not None)
        stop = stop or (self.stop_after is not None and whole >= self.stop_after)
        if stop or self._due(trainer) or step >= trainer.max_steps:
            self.run.check_held()
            checkpoint.save(trainer, self.file)
            self.saved = time.monotonic()
            if trainer.is_global_zero:
                self.run.status("running", step=whole, steps=self.place.steps)
        if stop:
            trainer.should_stop = True

    def _due(self, trainer: L.Trainer) -> bool:
        if self.every:
            return trainer.global_step % self.every == 0
        return self._of_any(trainer, time.monotonic() - self.saved >= CLOCK)

    def _of_any(self, trainer: L.Trainer, mine: bool) -> bool:
        """Whether it is so in any of the processes that share the steps: they save and stop together, or hang."""
        if trainer.world_size == 1:
            return mine
        # Asking waits for the GPUs of all.
        return trainer.global_step % AGREED == 0 and trainer.strategy.reduce_boolean_decision(mine, all=False)


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
        step, scalars = trainer.global_step, self.fitted.scalars()
        previewed = step % self.trainer_config.preview_every == 0 or step >= trainer.max_steps
        if previewed:
            reading, self.note = self.fitted.preview()
            scalars = scalars | reading
        if previewed or step % self.trainer_config.log_every == 0:
            rates = {f"lr/{name}": rate for name, rate in self.fitted.rates(step - 1).items()}
            scalars = scalars | rates | {"steps_per_s": self.steps / max(1e-9, self.seconds)}
            self.run.log(self.place.before + step, scalars)
            self.tracker.follow()
        self.bar.advance(self.note)
        self.last = time.perf_counter()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if hasattr(self, "bar"):
            self.bar.__exit__()
