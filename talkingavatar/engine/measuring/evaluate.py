"""`evaluate`: fitted runs to result files and pictures."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.config.compose import from_yaml
from talkingavatar.config.expressions import read_expressions
from talkingavatar.config.external import External, read_external
from talkingavatar.config.protocol import Condition, Protocol, read_condition, read_protocol
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.sources import SOURCES
from talkingavatar.engine.loop.machine import cores
from talkingavatar.engine.measuring.evaluated_run import EvaluatedRun, open_run
from talkingavatar.engine.measuring.evaluated_video import EvaluatedVideo, folder_of_video
from talkingavatar.engine.measuring.measure import Findings, Networks, Options
from talkingavatar.engine.measuring.measures.registry import MEASURES, definitions, find_networks
from talkingavatar.engine.measuring.result_key import digest, result_key, truth_key
from talkingavatar.engine.measuring.sync_curves import sync_curves
from talkingavatar.engine.measuring.unmeasurable import Unmeasurable
from talkingavatar.engine.tracking.tracker import track_results
from talkingavatar.errors import UserError
from talkingavatar.metrics.result_file import read_result
from talkingavatar.paths import cache_root, runs_root
from talkingavatar.runtime.command import warn
from talkingavatar.runtime.files import folder_for, write_atomically
from talkingavatar.runtime.lock import held
from talkingavatar.runtime.readers import healed


@dataclass(frozen=True)
class EvaluateConfig:
    """What `evaluate` is given."""

    runs: tuple[Path, ...]
    videos: tuple[External, ...] = ()  # that others rendered
    protocols: tuple[str, ...] = ("overview",)
    conditions: tuple[str, ...] = ()  # measured as well, whatever the protocols need
    frames: int = 0  # held-out frames from the start; 0: all
    lpips: tuple[str, ...] = ("alex",)
    weights: str | None = None  # folder of LPIPS backbones
    syncnet: str | None = None  # SyncNet's weights
    landmarks: str = "mediapipe"  # mediapipe | none
    views: tuple[str, ...] | None = None  # held-out cameras; None: all of the capture
    expressions: tuple[str, ...] | None = ()  # faces that nobody filmed; None: all
    also: frozenset[str] = frozenset()  # of `config.protocol.ASKED`
    out: Path | None = None
    fresh: bool = False  # measure again what was measured
    progress: bool = True

    def options(self, device: torch.device | str) -> Options:
        """What of it is said of measures."""

        def announce(message: str) -> None:
            print(message, file=sys.stderr, flush=True)

        looked_at = self.views, self.expressions
        return Options(self.lpips, self.weights, self.syncnet, self.landmarks, *looked_at, self.also, device, announce)


@dataclass(frozen=True)
class Evaluated:
    """What came of it."""

    out: Path
    results: list[dict[str, Any]]  # one a run and condition
    pictures: list[Path]


def evaluate(config: EvaluateConfig, check: Callable[[], None]) -> Evaluated:
    """Measure every run under the conditions its rows need; what was measured is kept. `check` may raise to stop.

    A run that cannot be opened (no checkpoint yet, its recording gone, somebody at work in it) is left out with the
    reason.

    Raises:
        UserError: a mistake in what was given, or no run that can be opened.
    """
    body = from_yaml(config.runs[0] / "config.yaml").body if config.videos and config.runs else None
    config = replace(config, runs=(*config.runs, *(folder_of_video(video, body) for video in config.videos)))
    protocols = {name: read_protocol(name) for name in config.protocols}
    extra = {name: read_condition(name) for name in config.conditions}
    configs = {run: _config(run) for run in config.runs}
    wanted = {run: _conditions(found, protocols) | extra for run, found in configs.items()}
    if other := next((run for run, conditions in wanted.items() if not conditions), None):
        needed = sorted({row.experiment for protocol in protocols.values() for row in protocol.rows})
        found = f"{other}, of {configs[other].experiment}"
        raise UserError("run", found, f"one of {', '.join(needed)}", "choose another protocol")
    out = _folder(config)
    results: list[dict[str, Any]] = []
    skipped: dict[Path, UserError] = {}
    networks: Networks | None = None
    for run, conditions in wanted.items():
        with ExitStack() as stack:
            try:
                stack.enter_context(held(run, "run", "this run", print))  # its checkpoints stay what they are
                opened = _opened(run, config.frames)
            except UserError as error:
                skipped[run] = error
                results += [_skipped(run, configs[run], name, error) for name in conditions]
                continue
            torch.set_num_threads(cores(opened.config))  # the metrics' networks are large enough
            networks = networks or find_networks(MEASURES, config.options(opened.device))
            results += Measurement(config, opened, networks, check).under(conditions)
    if len(skipped) == len(wanted):
        raise next(iter(skipped.values()))
    for run, reason in skipped.items():
        warn(f"{run}: skipped: {reason.found}; {reason.action}")
    return Evaluated(out, results, sync_curves(results, out))


class Measurement:
    """One run, measured under one condition after the other."""

    def __init__(
        self, config: EvaluateConfig, opened: EvaluatedRun, networks: Networks, check: Callable[[], None]
    ) -> None:
        self.config, self.opened, self.networks = config, opened, networks
        self.folder = opened.run.path / "evaluation"
        folder_for(self.folder, "run", "move what lies there out of the way")
        self.setting = opened.setting(networks, config.options(opened.device))
        self.setting = replace(self.setting, folder=self.folder, progress=config.progress, check=check)
        self.truths: dict[str, Findings] = {}  # by what the ground truth's numbers depend on
        self.of_run: Findings | None = None

    def under(self, conditions: Mapping[str, Condition]) -> list[dict[str, Any]]:
        """The result of each condition, from its file or measured now."""
        results = []
        for name, condition in conditions.items():
            file = self.folder / f"{name}.json"
            key = self._key(condition)
            known = {} if self.config.fresh else _known(file)
            if known.get("key") != key:
                known = self._measure(name, condition) | {"key": key}
                write_atomically(file, json.dumps(known, indent=1))
                track_results(self.opened.config, self.opened.run, name, known["metrics"])
            results.append(known)
        return results

    def _key(self, condition: Condition) -> str:
        opened = self.opened
        checkpoints = opened.checkpoints(condition)
        looked_at = [self.config.views, self._faces, sorted(self.config.also)]
        return result_key(checkpoints, opened.config, opened.held, condition, self.networks, looked_at)

    @cached_property
    def _faces(self) -> Any:
        """What is asked of faces that nobody filmed."""
        asked = self.config.expressions
        return [] if asked == () else asdict(read_expressions(asked))

    def _measure(self, name: str, condition: Condition) -> dict[str, Any]:
        began = time.monotonic()
        setting = replace(self.setting, condition=condition)
        try:
            truth = self._truth(condition)
            of_run = self._of_run()  # before the frames: its peak of memory is that of drawing, not of measuring
            found = self.opened.score(setting, MEASURES, truth, name)
        except Unmeasurable as error:
            return self._facts(name, condition) | {"metrics": {}, "skipped": {}, "curves": {}, "why": str(error)}
        found.add(of_run)
        result = self._facts(name, condition) | {
            "definitions": definitions(found.metrics, MEASURES),
            "metrics": found.metrics,
            "skipped": found.missed,
            "curves": found.curves,
            "per_frame": {key: _in_short(values) for key, values in found.per_frame.items()},
            "wall_s": round(time.monotonic() - began, 1),
        }
        if truth.metrics:  # of motion alone there is none to tell
            result["truth"] = {"metrics": truth.metrics, "skipped": truth.skipped, "curves": truth.curves}
        return result

    def _of_run(self) -> Findings:
        """What all conditions share."""
        if self.of_run is None:
            self.of_run = self.opened.score_run(self.setting, MEASURES)
        return self.of_run

    def _truth(self, condition: Condition) -> Findings:
        """The ground truth's own numbers, the same for all runs of a capture: measured once and kept in the cache."""
        key = truth_key(self.opened.held, condition, self.networks, self.config.also)
        file = cache_root() / "evaluation" / f"truth-{key[:16]}.npz"
        if key not in self.truths:
            known = None if self.config.fresh else _kept(file)
            setting = replace(self.setting, condition=condition)
            self.truths[key] = known or self.opened.score_truth(setting, MEASURES)
            folder_for(file.parent, "cache", "set $TALKINGAVATAR_CACHE")
            self.truths[key].save(file)
        return self.truths[key]

    def _facts(self, name: str, condition: Condition) -> dict[str, Any]:
        """What the numbers cannot be read without."""
        opened = self.opened
        frames = opened.held.frames
        return opened.facts() | {
            "condition": name,
            "silence": sorted({*condition.silence, *opened.config.method.silence}),
            "aligned": condition.align,
            "split": {"held-out": f"{frames[0]}-{frames[-1]}", "count": len(frames)},
            "frames": frames,
            "backbones": self.networks.used,
        }


def _in_short(values: Float[ndarray, " T"]) -> list[float | None]:
    """In five digits, for files; None where a frame has no value."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values]


def _known(file: Path) -> dict[str, Any]:
    """What was measured before; a file that is not there or damaged is measured again."""
    return healed(lambda: read_result(file), {}, warn)


def _kept(file: Path) -> Findings | None:
    """What the cache knows; a file that is not there or damaged is made again."""
    return healed(lambda: Findings.load(file), None, warn) if file.exists() else None


def _config(run: Path) -> FitConfig:
    """Of a run directory, without loading it."""
    video = read_external(run) if (run / "config.yaml").is_file() else None
    return from_yaml(run / "config.yaml") if video is None else video.config


def _skipped(run: Path, config: FitConfig, condition: str, error: UserError) -> dict[str, Any]:
    """What stands for a run that cannot be opened: the reason, in all of its cells."""
    facts = {"run": str(run), "experiment": config.experiment, "family": config.family, "seed": config.seed}
    subject = SOURCES[config.data.name].title(config.data) or "unknown"
    nothing: dict[str, Any] = {"metrics": {}, "skipped": {}, "curves": {}}
    return facts | nothing | {"subject": subject, "condition": condition, "origin": "absent", "why": error.found}


def _conditions(config: FitConfig, protocols: dict[str, Protocol]) -> dict[str, Condition]:
    """Those that the rows of this experiment need."""
    names = dict.fromkeys(
        name for protocol in protocols.values() for name in protocol.conditions_for(config.experiment, config.family)
    )
    return {name: read_condition(name) for name in names}


def _opened(run: Path, most: int) -> EvaluatedRun:
    """A run of ours, or a video."""
    video = read_external(run)
    return open_run(run, most) if video is None else EvaluatedVideo(run, video, most)


def _folder(config: EvaluateConfig) -> Path:
    """Where tables go: into the run, or beside the runs for several."""
    if config.out is not None:
        out = config.out
    elif len(config.runs) == 1:
        out = config.runs[0] / "evaluation"
    else:
        out = runs_root() / f"evaluation-{digest(sorted(str(run.absolute()) for run in config.runs))[:8]}"
    return folder_for(out, "out", "choose another")
