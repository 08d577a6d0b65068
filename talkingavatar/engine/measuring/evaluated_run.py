"""A fitted run as `evaluate` sees it: an avatar, or a driver alone, that draws nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from talkingavatar.body.body import Body
from talkingavatar.config.compose import from_yaml
from talkingavatar.config.protocol import Condition
from talkingavatar.config.schema import FitConfig
from talkingavatar.config.stages import of_kind
from talkingavatar.data.capture import Manifest
from talkingavatar.engine.driver import driver_files
from talkingavatar.engine.fitted import FittedDriver, FittedRun, load_driver_run, load_run
from talkingavatar.engine.measuring.confusion_picture import draw_confusion
from talkingavatar.engine.measuring.driven_frames import DrivenFrames
from talkingavatar.engine.measuring.foretold import foretold_of_clip
from talkingavatar.engine.measuring.held_out import HeldOut, held_out, held_out_of_clip
from talkingavatar.engine.measuring.measure import NOT_ASKED, Findings, Networks, Options, Setting
from talkingavatar.engine.measuring.scoring import Measures, score_avatar, score_motion, score_run, score_truth
from talkingavatar.engine.measuring.truth_above_render import strip
from talkingavatar.engine.measuring.unmeasurable import Unmeasurable
from talkingavatar.engine.run import checkpoint
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.run.provenance import provenance
from talkingavatar.metrics.suite import SUITE_VERSION
from talkingavatar.runtime.files import sha256

ALONE = "a run of a driver alone draws nothing"
AS_TRACKED = "nothing is foretold from sound under this condition"
FIRST_VIEW = "the capture knows places in the pictures of its first view alone"


class EvaluatedRun(ABC):
    """What `evaluate` asks of any run."""

    run: RunDirectory
    config: FitConfig
    body: Body
    held: HeldOut
    device: torch.device
    steps: int

    @abstractmethod
    def checkpoints(self, condition: Condition) -> list[Path]:
        """Of every stage that a condition's numbers come from."""

    @abstractmethod
    def setting(self, networks: Networks, options: Options) -> Setting:
        """What measures find here, whatever the condition."""

    @abstractmethod
    def score(self, setting: Setting, measures: Measures, truth: Findings, name: str) -> Findings:
        """
        Raises:
            Unmeasurable: the run does not have what the condition asks for.
        """

    @abstractmethod
    def score_truth(self, setting: Setting, measures: Measures) -> Findings:
        """The ground truth's own numbers.

        Raises:
            Unmeasurable: as `score`.
        """

    def score_run(self, setting: Setting, measures: Measures) -> Findings:
        """What is the same under every condition."""
        return score_run(setting, measures)

    @abstractmethod
    def capture_facts(self) -> dict[str, Any]:
        """Of the recording."""

    def facts(self) -> dict[str, Any]:
        """What no number can be read without."""
        made, config = provenance(), self.config
        return {
            "suite": SUITE_VERSION,
            "run": str(self.run.path),
            "experiment": config.experiment,
            "family": config.family,
            "stages": list(config.stages),
            "seed": config.seed,
            "budget": config.budget.name,
            "steps": self.steps,
            "checkpoint": sha256(self.checkpoints(Condition())[0]),
            **self.capture_facts(),
            "body": {"name": self.body.name, "checksum": self.body.checksum},
            "commit": f"{(made['commit'] or 'unknown')[:7]}{'+' * made['dirty']}",
            "device": made["device"],
        }


class EvaluatedAvatar(EvaluatedRun):
    """Every measure applies."""

    def __init__(self, avatar: FittedRun, most: int) -> None:
        self.avatar, self.run, self.config = avatar, avatar.run, avatar.data.config
        self.body, self.device = avatar.body, avatar.method.device
        self.steps = sum(_steps_of(file) for file in self.checkpoints(Condition(spoken=True)))
        self.held = held_out(avatar.data, avatar.body, most)

    def checkpoints(self, condition: Condition) -> list[Path]:
        drivers = driver_files(self.run, self.config).values() if condition.spoken else ()
        return [self.avatar.checkpoint, *(file for file in drivers if file.is_file())]

    def setting(self, networks: Networks, options: Options) -> Setting:
        return Setting(self.held, networks, options, {"brief": NOT_ASKED, **options.not_asked}, avatar=self.avatar)

    def score(self, setting: Setting, measures: Measures, truth: Findings, name: str) -> Findings:
        driven = DrivenFrames(self.avatar, self.held, setting.condition)
        setting = replace(self._for(setting), foretold=driven.foretold)
        scored = score_avatar(setting, measures, truth, driven, name)
        draw_confusion(scored.findings, setting.folder, name)
        if scored.pairs and setting.folder is not None:
            strip(scored.pairs, f"{self.config.experiment}, {name}", setting.folder / f"{name}.png")
        return scored.findings

    def score_truth(self, setting: Setting, measures: Measures) -> Findings:
        return score_truth(self._for(setting), measures)

    def _for(self, setting: Setting) -> Setting:
        """With what a condition takes away."""
        condition, absent = setting.condition, {**setting.absent, **_not_told(setting.condition)}
        if not condition.plain:
            absent["plain"] = "measured under the condition full alone"
        if condition.view not in (None, self.avatar.data.capture.manifest.views[0]):
            absent["face"] = FIRST_VIEW
        return replace(setting, absent=absent)

    def capture_facts(self) -> dict[str, Any]:
        return facts_of(self.avatar.data.capture.manifest, self.held)


class EvaluatedDriver(EvaluatedRun):
    """Its motion is measured on the held-out frames of its own clip."""

    def __init__(self, fitted: FittedDriver, most: int) -> None:
        self.fitted, self.run, self.config = fitted, fitted.run, fitted.config
        self.body, self.device = fitted.body, torch.device("cpu")
        self.steps = sum(_steps_of(file) for file in self.checkpoints(Condition()))
        self.held = held_out_of_clip(fitted.clip, fitted.body, most, self.config.data)

    def checkpoints(self, condition: Condition) -> list[Path]:
        return list(driver_files(self.run, self.config).values())

    def setting(self, networks: Networks, options: Options) -> Setting:
        absent = dict.fromkeys(("pictures", "truth", "face", "avatar"), ALONE) | {"brief": NOT_ASKED}
        absent |= options.not_asked
        return Setting(self.held, networks, options, absent)

    def score(self, setting: Setting, measures: Measures, truth: Findings, name: str) -> Findings:
        condition = setting.condition
        if condition.silence:
            raise Unmeasurable("a driver alone hears all of its clip: nothing can be withheld")
        setting = replace(setting, absent={**setting.absent, **_not_told(condition)})
        if condition.spoken:
            clip, driver, stages = self.fitted.clip, self.fitted.driver, of_kind(self.config, "driver")
            foretold = foretold_of_clip(clip, driver, self.body, self.held.frames, condition, stages)
            setting = replace(setting, foretold=foretold)
        found = score_motion(setting, measures)
        draw_confusion(found, setting.folder, name)
        return found

    def score_truth(self, setting: Setting, measures: Measures) -> Findings:
        return Findings()

    def capture_facts(self) -> dict[str, Any]:
        clip = self.fitted.clip
        return {"subject": clip.name, "capture": {"name": clip.name, "digest": self.held.digest(), "fps": clip.fps}}


def facts_of(manifest: Manifest, held: HeldOut) -> dict[str, Any]:
    """Of a capture."""
    capture = {
        "name": manifest.name,
        "digest": held.digest(),
        "size": [manifest.width, manifest.height],
        "fps": manifest.fps,
        "provenance": manifest.provenance,
    }
    return {"subject": manifest.name, "capture": capture}


def _not_told(condition: Condition) -> dict[str, str]:
    """What of a driver's answers a condition does not ask for."""
    told = {} if condition.spoken else {"foretold": AS_TRACKED}
    return told if condition.samples > 1 else told | {"samples": "one answer to the sound was asked for"}


def _steps_of(file: Path) -> int:
    """That a checkpoint was trained for."""
    return int(checkpoint.read(file)["global_step"])


def open_run(folder: Path, most: int) -> EvaluatedRun:
    """A run directory, finished or not, of which at most `most` held-out frames are measured (0: all).

    Raises:
        UserError: it is no run of an avatar or a driver, or has no checkpoint yet, or too few frames are held out.
    """
    config = from_yaml(folder / "config.yaml")
    if of_kind(config, "driver") and not of_kind(config, "avatar"):
        return EvaluatedDriver(load_driver_run(folder), most)
    return EvaluatedAvatar(load_run(folder), most)
