"""A whole fit: data, training, results, in a run directory that can be killed and continued."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch

from talkingavatar.body.models import load_body
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.capture import Capture
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.engine import checkpoint, processes
from talkingavatar.engine.callbacks import Checkpoints, Journal, Place
from talkingavatar.engine.progress import ProgressBar
from talkingavatar.engine.run import RunDirectory
from talkingavatar.engine.signals import Preempted, StopFlag
from talkingavatar.engine.tracking import Tracker
from talkingavatar.engine.trainable import Conclusion, Trainable, conclude, trainable_class, trains_avatar
from talkingavatar.errors import UserError
from talkingavatar.methods import method_class
from talkingavatar.methods.audio2param import driver_options
from talkingavatar.methods.base import Method, MethodContext
from talkingavatar.splatting.cpu.launch import set_threads


@dataclass(frozen=True)
class Outcome:
    """What `fit` tells the user at the end."""

    run: Path
    table: list[dict[str, Any]]
    summary: dict[str, Any]


def run_fit(config: FitConfig, flag: StopFlag) -> Outcome | None:
    """Fit from wherever the run directory stands to the end.

    Returns:
        None in a process that shares the steps of a run which another one leads.

    Raises:
        UserError: a mistake in what was given.
        Preempted: a warning signal came; everything is saved.
    """
    began = time.monotonic()
    if processes.rank(config) > 0:
        _follow(config, flag)
        return None
    if config.run.fresh:
        check(config)  # before what lies there is removed
    run = RunDirectory.open(config)
    done = run.read_summary()
    if done is not None and done["status"] == "finished":
        return Outcome(run.path, done["table"], done)
    run.status("running", step=0, steps=config.budget.steps)
    try:
        return _fit(config, run, flag, began, (done or {}).get("wall_s", 0.0))
    except Preempted:
        run.status("preempted")
        raise
    except BaseException as error:
        run.status("failed", error=str(error) or type(error).__name__)
        raise


def check(config: FitConfig) -> None:
    """Refuse at once what would be refused when the data is made or a stage is trained, minutes later.

    Raises:
        UserError: there is no such method, option, body model or device, or they do not go together.
    """
    on_cpu(config)
    if "driver" in config.stages:
        driver_options(config.driver.options)
    if config.stages != ["driver"] and trains_avatar(config.method.name):
        method_class(config.method.name).check(config)
        load_body(config.body.name, config.body.path, config.body.gender)
    elif len(config.stages) > 1:
        found, expected = f"a driver after {config.method.name}", "an avatar before the driver"
        raise UserError("stages", found, expected, "give stages=[driver] alone")


def _fit(config: FitConfig, run: RunDirectory, flag: StopFlag, began: float, before: float) -> Outcome:
    check(config)
    prepare_torch(config)
    tracker = Tracker(config, run)
    fitted: list[Trainable] = []
    journals: list[Journal] = []
    for stage in config.stages:
        fitted.append(build_stage(stage, config, fitted))
        place = Place(stage, sum(other.steps for other in fitted[:-1]), _steps(config, fitted))
        journals.append(Journal(run, tracker, fitted[-1], config.trainer, place))
        if not _train(config, run, flag, fitted[-1], place, journals[-1]):
            _note_time(run, began, before, journals)
            tracker.close()
            raise Preempted
    conclusion = conclude(fitted, run, flag.check)
    steps = sum(stage.steps for stage in fitted)
    summary = _summary(config, steps, conclusion, journals) | {"wall_s": before + time.monotonic() - began}
    tracker.finish(steps, conclusion.media, conclusion.table, conclusion.results.metrics)
    run.write_summary(summary)
    run.status("finished", step=steps, steps=steps)
    return Outcome(run.path, conclusion.table, summary)


def _follow(config: FitConfig, flag: StopFlag) -> None:
    """Share the steps of a run that another process leads; write and tell nothing."""
    config = replace(config, trainer=replace(config.trainer, progress=False))
    run = RunDirectory(RunDirectory.path_of(config))
    done = None if config.run.fresh else run.read_summary()
    if done is not None and done["status"] == "finished":
        return
    check(config)
    prepare_torch(config)
    (stage,) = config.stages
    fitted = build_stage(stage, config, [])
    _train(config, run, flag, fitted, Place(stage, 0, fitted.steps))


def _train(
    config: FitConfig, run: RunDirectory, flag: StopFlag, fitted: Trainable, place: Place, *callbacks: L.Callback
) -> bool:
    """Train one stage from its checkpoint on; whether it came to its end."""
    file = run.path / fitted.file
    saver = Checkpoints(run, file, flag, config.trainer.checkpoint_every, config.run.stop_after, place)
    trainer = make_trainer(config, run, fitted.steps, [saver, *callbacks])
    # What lies there when a run starts anew, the leading process may not have removed yet.
    anew = config.run.fresh and processes.rank(config) > 0
    resume = file if file.is_file() and not anew else None
    if resume is not None:
        checkpoint.read(resume)
    trainer.fit(fitted.module, datamodule=fitted.data, ckpt_path=resume, weights_only=True)
    return trainer.global_step >= fitted.steps


def build_stage(stage: str, config: FitConfig, before: list[Trainable]) -> Trainable:
    """A stage of the experiment; a driver is shown the avatar fitted before it."""
    if stage == "method":
        return trainable_class(config.method.name)(config)
    from talkingavatar.engine.avatar_fit import AvatarFit
    from talkingavatar.engine.driver_fit import DriverFit

    if not before:
        return DriverFit(config)
    avatar = before[0]
    assert isinstance(avatar, AvatarFit), "checked before"
    return DriverFit(config, avatar, avatar.mouth_loss)


def _steps(config: FitConfig, fitted: list[Trainable]) -> int:
    """Of the whole run, those of stages not built yet included."""
    return sum(stage.steps for stage in fitted) + config.driver.steps * (len(config.stages) - len(fitted))


def prepare_torch(config: FitConfig) -> None:
    """Threads, determinism and quiet."""
    threads = cores(config)
    # Rasterising scales with cores; torch's operations here are too small to share out (30,000 rows of a few numbers).
    set_threads(threads)
    torch.set_num_threads(1)
    keep_freed_memory()
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec.*")


def cores(config: FitConfig) -> int:
    """CPU threads of the run."""
    return config.trainer.threads or len(os.sched_getaffinity(0))


def keep_freed_memory() -> None:
    """Tell glibc to reuse large blocks: fresh pages for each step's pictures cost more than computing them."""
    import ctypes
    import ctypes.util
    import sys

    if sys.platform == "linux" and (name := ctypes.util.find_library("c")):
        libc = ctypes.CDLL(name)
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)


def build_data(config: FitConfig) -> CaptureData:
    """The capture of a configuration; the embedded one is made on first use."""
    if config.data.name == "speaker":
        from talkingavatar.data.speaker.record import speaker_capture

        with ExitStack() as stack:

            def progress(title: str, total: int) -> Callable[[], None]:
                return stack.enter_context(ProgressBar(title, total, config.trainer.progress)).advance

            folder = speaker_capture(config.data, progress)
    else:
        assert config.data.path is not None
        folder = Path(config.data.path).expanduser()
    return CaptureData(Capture(folder, config.data.cache_mb), config)


def build_method(config: FitConfig, data: CaptureData) -> Method:
    """The configured method for a capture, untrained.

    Raises:
        UserError: the capture was tracked with another body model.
    """
    body = load_body(config.body.name, config.body.path, config.body.gender)
    tracked_with = data.capture.manifest.body.get(data.model, body.checksum)
    if tracked_with != body.checksum:
        raise UserError(
            "body",
            f"{body.name} ({body.checksum[:12]})",
            f"the model of checksum {tracked_with[:12]}, which the capture was tracked with",
            "give that model by body=... body.path=..., or a capture tracked with this one",
        )
    capture = data.capture
    context = MethodContext(
        config=config,
        body=body,
        pose=capture.pose(list(range(capture.manifest.frames)), data.model),
        train_frames=data.train_frames,
        audio_channels=data.features.shape[-1],
        look=data.batch,
    )
    torch.manual_seed(config.seed)
    return method_class(config.method.name)(context)


def on_cpu(config: FitConfig) -> bool:
    """Whether the fit runs on the CPU.

    Raises:
        UserError: there is no such device, or there are fewer than asked for.
    """
    there = torch.cuda.is_available()
    if config.trainer.accelerator == "gpu" and not there:
        raise UserError("trainer.accelerator", "gpu, but no CUDA device", "a CUDA device", "use trainer=cpu")
    if config.trainer.accelerator == "cpu" or not there:
        return True
    if config.trainer.devices > (count := torch.cuda.device_count()):
        expected = f"at most {count}, as many GPUs as there are"
        raise UserError("trainer.devices", str(config.trainer.devices), expected, "lower it, or use trainer=cpu")
    return False


def make_trainer(config: FitConfig, run: RunDirectory, steps: int, callbacks: list[L.Callback]) -> L.Trainer:
    """
    Raises:
        UserError: as `on_cpu`.
    """
    import logging

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    cpu = on_cpu(config)
    return L.Trainer(
        accelerator="cpu" if cpu else "gpu",
        devices=config.trainer.devices,
        num_nodes=config.trainer.nodes,
        strategy="ddp" if config.trainer.processes > 1 else "auto",
        deterministic=cpu,
        max_steps=steps,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=run.path,
        plugins=[processes.environment(config)],
    )


def _note_time(run: RunDirectory, began: float, before: float, journals: list[Journal]) -> None:
    """The time spent so far, for the run that continues this one."""
    steps = sum(journal.steps for journal in journals)
    run.write_summary({"status": "preempted", "wall_s": before + time.monotonic() - began, "steps": steps})


def _summary(config: FitConfig, steps: int, conclusion: Conclusion, journals: list[Journal]) -> dict[str, Any]:
    seconds = sum(journal.seconds for journal in journals)
    return {
        "status": "finished",
        "experiment": config.experiment,
        "seed": config.seed,
        "data": asdict(config.data),
        "steps": steps,
        "steps_per_s": sum(journal.steps for journal in journals) / seconds if seconds else None,
        "metrics": conclusion.results.metrics,
        "skipped": conclusion.results.skipped,
        "definitions": conclusion.results.definitions,
        "table": conclusion.table,
    }
