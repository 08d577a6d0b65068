"""`evaluate`: fitted runs to result files and pictures."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch

from talkingavatar.config.protocol import Condition, Protocol, read_condition, read_protocol
from talkingavatar.config.schema import FitConfig
from talkingavatar.engine.driver import driver_files
from talkingavatar.engine.fitted import FittedRun, load_run
from talkingavatar.engine.loop.machine import cores
from talkingavatar.engine.measuring.beside import distances, views
from talkingavatar.engine.measuring.held_out import HeldOut, held_out
from talkingavatar.engine.measuring.pictures import strip, sync_curves
from talkingavatar.engine.measuring.pixels import VideoScores
from talkingavatar.engine.measuring.scoring import measure_truth, score
from talkingavatar.engine.measuring.speed import measure_speed
from talkingavatar.engine.measuring.tools import Tools
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.run.provenance import provenance
from talkingavatar.engine.tracking.tracker import track_results
from talkingavatar.errors import UserError
from talkingavatar.metrics.suite import SUITE_VERSION, definitions
from talkingavatar.paths import cache_root, runs_root
from talkingavatar.runtime.files import write_atomically


@dataclass(frozen=True)
class EvaluateConfig:
    """What `evaluate` is given."""

    runs: tuple[Path, ...]
    protocols: tuple[str, ...] = ("overview",)
    conditions: tuple[str, ...] = ()  # measured as well, whatever the protocols need
    frames: int = 0  # held-out frames from the start; 0: all
    lpips: tuple[str, ...] = ("alex",)
    weights: str | None = None  # folder of LPIPS backbones
    syncnet: str | None = None  # SyncNet's weights
    landmarks: str = "mediapipe"  # mediapipe | none
    views: tuple[str, ...] | None = None  # held-out cameras; None: all of the capture
    out: Path | None = None
    fresh: bool = False  # measure again what was measured
    progress: bool = True


@dataclass(frozen=True)
class Evaluated:
    """What came of it."""

    out: Path
    results: list[dict[str, Any]]  # one a run and condition
    pictures: list[Path]


def evaluate(config: EvaluateConfig, check: Callable[[], None]) -> Evaluated:
    """Measure every run under the conditions its rows need; what was measured is kept. `check` may raise to stop.

    Raises:
        UserError: a mistake in what was given.
    """
    protocols = {name: read_protocol(name) for name in config.protocols}
    extra = {name: read_condition(name) for name in config.conditions}
    experiments = {run: _experiment_and_family(run) for run in config.runs}
    out = _folder(config)
    results = []
    tools: Tools | None = None
    for run, experiment in experiments.items():
        wanted = _conditions(*experiment, protocols) | extra
        if not wanted:
            needed = sorted({row.experiment for protocol in protocols.values() for row in protocol.rows})
            raise UserError(
                "run", f"{run}, of {experiment[0]}", f"one of {', '.join(needed)}", "choose another protocol"
            )
        trained = load_run(run)
        torch.set_num_threads(cores(trained.data.config))  # the metrics' networks are large enough
        tools = tools or _tools(config, trained)
        results += Measurement(config, trained, tools, check).under(wanted)
    return Evaluated(out, results, sync_curves(results, out))


class Measurement:
    """One run, measured under one condition after the other."""

    def __init__(self, config: EvaluateConfig, trained: FittedRun, tools: Tools, check: Callable[[], None]) -> None:
        self.config, self.trained, self.tools, self.check = config, trained, tools, check
        trained.data.config.trainer.progress = config.progress
        self.folder = trained.run.path / "evaluation"
        self.folder.mkdir(exist_ok=True)
        self.checkpoint = _digest(trained.checkpoint)
        self.held: HeldOut | None = None
        self.truth = VideoScores()
        self.common: dict[str, float] = {}
        self.skipped: dict[str, str] = {}

    def under(self, conditions: dict[str, Condition]) -> list[dict[str, Any]]:
        """The result of each condition, from its file or measured now."""
        results = []
        for name, condition in conditions.items():
            file, key = self.folder / f"{name}.json", self._key(condition)
            known = {} if self.config.fresh else _known(file)
            if known.get("key") != key:
                known = self._measure(name, condition) | {"key": key}
                write_atomically(file, json.dumps(known, indent=1))
                track_results(self.trained.data.config, self.trained.run, name, known["metrics"])
            results.append(known)
        return results

    def _key(self, condition: Condition) -> str:
        """Of all that decides the numbers."""
        config = self.config
        options = [config.frames, config.landmarks, config.views, self.tools.used, self.tools.skipped]
        measured = [self.checkpoint, *driver_digest(self.trained.run, self.trained.data.config, condition)]
        stated = json.dumps([SUITE_VERSION, asdict(condition), measured, options], sort_keys=True, default=list)
        return hashlib.sha256(stated.encode()).hexdigest()

    def _measure(self, name: str, condition: Condition) -> dict[str, Any]:
        began = time.monotonic()
        held = self._prepare()
        found = score(self.trained, held, self.truth, condition, self.tools, name, self.check)
        scores = found.scores
        scores.metrics |= self.common
        if found.pairs:
            strip(found.pairs, f"{self.trained.data.config.experiment}, {name}", self.folder / f"{name}.png")
        if name == "full":
            known = held.data.capture.manifest.test_views
            chosen = tuple(known) if self.config.views is None else self.config.views
            scores.metrics |= views(self.trained, held, self.tools, chosen, self.folder, scores.skipped)
        skipped = self.tools.skipped | self.skipped | scores.skipped
        return self._facts(name, condition, held) | {
            "definitions": definitions(list(scores.metrics)),
            "metrics": scores.metrics,
            "skipped": {key: why for key, why in skipped.items() if key not in scores.metrics},
            "curves": scores.curves,
            "truth": {
                "metrics": self.truth.metrics,
                "skipped": self.tools.skipped | self.truth.skipped,
                "curves": self.truth.curves,
            },
            "wall_s": round(time.monotonic() - began, 1),
        }

    def _prepare(self) -> HeldOut:
        """What all conditions of the run share."""
        if self.held is None:
            method, data = self.trained.method, self.trained.data
            self.held = held_out(data, deepcopy(method.body).to("cpu"), self.config.frames)
            self.truth = self._truth(self.held)
            self.common = measure_speed(method, data) | distances(self.trained, self.skipped)
        return self.held

    def _truth(self, held: HeldOut) -> VideoScores:
        """The ground truth's own numbers, the same for all runs of a capture: measured once and kept in the cache."""
        stated = json.dumps([SUITE_VERSION, held.digest(), self.tools.used, self.tools.skipped], sort_keys=True)
        file = cache_root() / "evaluation" / f"truth-{hashlib.sha256(stated.encode()).hexdigest()[:16]}.npz"
        if file.is_file() and not self.config.fresh:
            return VideoScores.load(file)
        truth = measure_truth(held, self.tools, self.config.progress, self.check)
        file.parent.mkdir(parents=True, exist_ok=True)
        truth.save(file)
        return truth

    def _facts(self, name: str, condition: Condition, held: HeldOut) -> dict[str, Any]:
        """What the numbers cannot be read without."""
        trained, made = self.trained, provenance()
        config, manifest = trained.data.config, trained.data.capture.manifest
        return {
            "suite": SUITE_VERSION,
            "run": str(trained.run.path),
            "experiment": config.experiment,
            "family": config.family,
            "stages": list(config.stages),
            "seed": config.seed,
            "budget": config.budget.name,
            "steps": trained.method.step,
            "checkpoint": self.checkpoint,
            "condition": name,
            "silence": sorted({*condition.silence, *config.method.silence}),
            "aligned": condition.align,
            "subject": manifest.name,
            "capture": {
                "name": manifest.name,
                "digest": held.digest(),
                "size": [manifest.width, manifest.height],
                "fps": manifest.fps,
                "provenance": manifest.provenance,
            },
            "split": {"held-out": f"{held.frames[0]}-{held.frames[-1]}", "count": len(held.frames)},
            "body": {"name": trained.method.body.name, "checksum": trained.method.body.checksum},
            "commit": f"{(made['commit'] or 'unknown')[:7]}{'+' * made['dirty']}",
            "device": made["device"],
            "backbones": self.tools.used,
        }


def _known(file: Path) -> dict[str, Any]:
    """What was measured before; a file that is not there or not ours is measured again."""
    try:
        known = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _experiment_and_family(run: Path) -> tuple[str, str]:
    """Of a run directory, without loading it."""
    from talkingavatar.config.compose import from_yaml

    if not (run / "config.yaml").is_file():
        found = "no such folder" if not run.is_dir() else "a folder without config.yaml"
        action = "give a run directory of fit (its last line says which)"
        raise UserError("run", f"{run}: {found}", "the folder of a fitted run", action)
    config = from_yaml(run / "config.yaml")
    return config.experiment, config.family


def _conditions(experiment: str, family: str, protocols: dict[str, Protocol]) -> dict[str, Condition]:
    """Those that the rows of this experiment need."""
    rows = [row for protocol in protocols.values() for row in protocol.rows_for([(experiment, family)])]
    names = dict.fromkeys(row.condition for row in rows if fnmatchcase(experiment, row.experiment))
    return {name: read_condition(name) for name in names}


def _tools(config: EvaluateConfig, trained: FittedRun) -> Tools:
    import sys

    def announce(message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    device = trained.method.device
    return Tools.find(list(config.lpips), config.weights, config.syncnet, config.landmarks, device, announce)


def driver_digest(run: RunDirectory, config: FitConfig, condition: Condition) -> list[str]:
    """Of the drivers' checkpoints, where a condition's numbers come from them as well."""
    files = driver_files(run, config).values() if condition.spoken else ()
    return [_digest(file) for file in files if file.is_file()]


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _folder(config: EvaluateConfig) -> Path:
    """Where tables go: into the run, or beside the runs for several."""
    if config.out is not None:
        out = config.out
    elif len(config.runs) == 1:
        out = config.runs[0] / "evaluation"
    else:
        digest = hashlib.sha256("\n".join(sorted(str(run.absolute()) for run in config.runs)).encode()).hexdigest()
        out = runs_root() / f"evaluation-{digest[:8]}"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError("out", f"{out}: {error.strerror}", "a folder that can be written", "choose another") from error
    return out
