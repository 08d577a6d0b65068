"""A whole fit: data, training, results, in a run directory that can be killed and continued."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L

from talkingavatar.config.rows import check_rows
from talkingavatar.config.schema import FitConfig
from talkingavatar.config.stages import of_kind, seen_by
from talkingavatar.engine.build import build_body
from talkingavatar.engine.loop import processes
from talkingavatar.engine.loop.callbacks import Checkpoints, Journal, Place
from talkingavatar.engine.loop.machine import make_trainer, on_cpu, prepare_torch
from talkingavatar.engine.run import checkpoint
from talkingavatar.engine.run.directory import ELSEWHERE, RunDirectory
from talkingavatar.engine.stages.registry import build_stage, check_stage
from talkingavatar.engine.stages.stage import Conclusion, Stage, conclude
from talkingavatar.engine.tracking.tracker import Tracker
from talkingavatar.errors import DiskFull, UserError
from talkingavatar.runtime.command import warn
from talkingavatar.runtime.disk import told_in_a_line
from talkingavatar.runtime.files import folder_for
from talkingavatar.runtime.lock import Lock, held
from talkingavatar.runtime.signals import Preempted, StopFlag
from talkingavatar.splatting.render import ready


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
        # Before what lies there is removed.
        check(config)
        build_body(config)
    path = folder_for(RunDirectory.path_of(config), "run.path", ELSEWHERE)
    with held(path, "run.path", "this run", print) as lock:
        return _lead(config, flag, lock, began)


def _lead(config: FitConfig, flag: StopFlag, lock: Lock, began: float) -> Outcome:
    """Work in the run directory, which this process holds."""
    run = RunDirectory.open(config, lock)
    done = run.read_summary()
    if done is not None and done["status"] == "finished":
        run.status("finished", step=done["steps"], steps=done["steps"])  # for whoever watches, whatever became of it
        if gone := [name for name in config.stages if not run.checkpoint(name).is_file()]:
            warn(f"{run.path} is finished, but {gone[0]}.ckpt is gone: nothing can be drawn; run.fresh=true fits anew")
        return Outcome(run.path, done["table"], done)
    run.status("running", step=run.progress().get("step", 0), steps=config.budget.steps)
    try:
        with told_in_a_line(run.saved):
            return _fit(config, run, flag, began, (done or {}).get("wall_s", 0.0))
    except Preempted:
        run.ended("preempted")
        raise
    except DiskFull as error:
        run.ended("preempted", error=str(error))
        raise
    except BaseException as error:
        run.ended("failed", error=str(error) or type(error).__name__)
        raise


def check(config: FitConfig) -> None:
    """Refuse at once what would be refused when the data is made or a stage is trained, minutes later.

    Raises:
        UserError: there is no such method, option or device, or they do not go together.
    """
    device = "cpu" if on_cpu(config) else "cuda"
    if of_kind(config, "avatar"):
        ready(config.renderer.backend, device)
    check_rows(config)
    for name in config.stages:
        check_stage(name, config)


def _fit(config: FitConfig, run: RunDirectory, flag: StopFlag, began: float, before: float) -> Outcome:
    check(config)
    prepare_torch(config)
    tracker = Tracker(config, run)
    fitted: dict[str, Stage] = {}
    journals: list[Journal] = []
    counts = {name: seen_by(config, name).budget.steps for name in config.stages}
    steps = sum(counts.values())
    for name in config.stages:
        place = Place(name, sum(counts[other] for other in fitted), steps)
        try:
            fitted[name] = _build(name, config, dict(fitted), flag)
            journals.append(Journal(run, tracker, fitted[name], config.trainer, place))
            if not _train(config, run, flag, fitted[name], place, journals[-1]):
                raise Preempted
        except Preempted:
            _note_time(run, began, before, journals)
            tracker.close()
            raise
    conclusion = conclude(list(fitted.values()), run, flag.check)
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
    (name,) = config.stages
    fitted = _build(name, config, {}, flag)
    _train(config, run, flag, fitted, Place(name, 0, fitted.steps))


def _build(name: str, config: FitConfig, before: dict[str, Stage], flag: StopFlag) -> Stage:
    """A stage; a warning ends what is drawn for it at once, unless other processes would wait for this one."""
    if config.trainer.processes > 1:
        return build_stage(name, config, before)
    with flag.stopping_at_once():
        return build_stage(name, config, before)


def _train(
    config: FitConfig, run: RunDirectory, flag: StopFlag, fitted: Stage, place: Place, *callbacks: L.Callback
) -> bool:
    """Train one stage from its checkpoint on; whether it came to its end."""
    file = run.checkpoint(fitted.name)
    saver = Checkpoints(run, file, flag, config.trainer.checkpoint_every, config.run.stop_after, place)
    trainer = make_trainer(config, run.path, fitted.steps, [saver, *callbacks])
    # What lies there when a run starts anew, the leading process may not have removed yet.
    anew = config.run.fresh and processes.rank(config) > 0
    resume = file if file.is_file() and not anew else None
    if resume is not None:
        content = checkpoint.read(resume)
        checkpoint.check_optimisers(content, resume)
        checkpoint.check_types(fitted.module, content, resume)
    try:
        trainer.fit(fitted.module, datamodule=fitted.data, ckpt_path=resume, weights_only=True)
    except (UserError, OSError):
        raise
    except Exception as error:
        if resume is None or not saver.resuming:
            raise
        raise checkpoint.damaged(resume, error) from error
    # Lightning leaves it on the CPU; later stages draw with it and figures are taken where it was trained.
    fitted.module.to(trainer.strategy.root_device)
    return trainer.global_step >= fitted.steps


def _note_time(run: RunDirectory, began: float, before: float, journals: list[Journal]) -> None:
    """The time spent so far, for the run that continues this one."""
    steps = sum(journal.steps for journal in journals)
    run.write_summary({"status": "preempted", "wall_s": before + time.monotonic() - began, "steps": steps})


def _summary(config: FitConfig, steps: int, conclusion: Conclusion, journals: list[Journal]) -> dict[str, Any]:
    seconds = sum(journal.seconds for journal in journals)
    return {
        "status": "finished",
        "experiment": config.experiment,
        "family": config.family,
        "stages": list(config.stages),
        "seed": config.seed,
        "data": asdict(config.data),
        "steps": steps,
        "steps_per_s": sum(journal.steps for journal in journals) / seconds if seconds else None,
        "metrics": conclusion.results.metrics,
        "skipped": conclusion.results.skipped,
        "definitions": conclusion.results.definitions,
        "measured": [asdict(measured) for measured in conclusion.results.conditions],
        "table": conclusion.table,
    }
