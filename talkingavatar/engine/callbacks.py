"""What happens round the steps of a fit: saving, stopping, logging, progress."""

import time
from typing import Any

import lightning as L
import torch

from talkingavatar.data.datamodule import CaptureData
from talkingavatar.engine import checkpoint
from talkingavatar.engine.progress import ProgressBar
from talkingavatar.engine.run import RunDirectory
from talkingavatar.engine.signals import StopFlag
from talkingavatar.engine.tracking import Tracker
from talkingavatar.methods.base import Method
from talkingavatar.metrics.image import psnr


class Checkpoints(L.Callback):
    """Saves every so many steps, at the end, and when a warning signal has come, always between two steps."""

    def __init__(self, run: RunDirectory, flag: StopFlag, every: int, stop_after: int | None) -> None:
        self.run, self.flag, self.every, self.stop_after = run, flag, every, stop_after

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.flag.install()

    def on_train_batch_end(self, trainer: L.Trainer, *rest: Any) -> None:
        step = trainer.global_step
        stop = self.flag.signal is not None or (self.stop_after is not None and step >= self.stop_after)
        if stop or step % self.every == 0 or step >= trainer.max_steps:
            checkpoint.save(trainer, self.run.checkpoint)
            self.run.status("running", step=step, steps=trainer.max_steps)
        if stop:
            trainer.should_stop = True


class Journal(L.Callback):
    """Scalars to metrics.jsonl and the tracker, a live PSNR of a held-out frame, and the progress bar."""

    def __init__(self, run: RunDirectory, tracker: Tracker, data: CaptureData) -> None:
        self.run, self.tracker, self.data = run, tracker, data
        self.trainer_config = data.config.trainer
        held = data.capture.test_frames
        self.preview_frame = held[len(held) // 2]
        self.note = ""
        self.seconds = 0.0
        self.steps = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.run.truncate_metrics(trainer.global_step)
        steps = trainer.max_steps
        self.bar = ProgressBar("fit", steps, self.trainer_config.progress, done=trainer.global_step).__enter__()
        self.began = self.last = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *rest: Any) -> None:
        assert isinstance(pl_module, Method)
        now = time.perf_counter()
        self.seconds, self.steps = self.seconds + now - self.last, self.steps + 1
        step, scalars = trainer.global_step, pl_module.scalars
        last = step >= trainer.max_steps
        if step % self.trainer_config.preview_every == 0 or last:
            value = self._preview(pl_module)
            scalars = scalars | {"preview/psnr": value}
            self.note = f"held-out PSNR {value:.2f} dB, {int(scalars['gaussians'])} Gaussians"
        if step % self.trainer_config.log_every == 0 or "preview/psnr" in scalars:
            rates = {f"lr/{name}": schedule.rate(step - 1) for name, schedule in pl_module.schedules.items()}
            scalars = scalars | rates | {"steps_per_s": self.steps / max(1e-9, self.seconds)}
            self.run.log(step, scalars)
            self.tracker.log(step, scalars)
        self.bar.advance(self.note)
        self.last = time.perf_counter()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if hasattr(self, "bar"):
            self.bar.__exit__()

    @torch.no_grad()
    def _preview(self, method: Method) -> float:
        """PSNR on one held-out frame."""
        batch = self.data.batch([self.preview_frame]).to(method.device)
        rendering = method.render(method.drive(batch.signal), batch.cameras)
        return psnr(rendering.rgb, batch.image)
