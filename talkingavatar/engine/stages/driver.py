"""The fit of a driver: speech and motion of one or many speakers, and its held-out figures."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, replace
from typing import Any

import torch

from talkingavatar.config.schema import FitConfig
from talkingavatar.config.stages import of_kind, seen_by
from talkingavatar.data.action_units import ACTION as UNITS_ACTION
from talkingavatar.data.capture import Capture
from talkingavatar.data.motion_clips import (
    MotionClip,
    capture_clip,
    embedded_speakers_fit,
    speaker_clip,
    whole_speech,
)
from talkingavatar.data.sources import source_of
from talkingavatar.data.speaker.identity import capture_name
from talkingavatar.data.speaker.script import voice_of
from talkingavatar.drivers import driver_class
from talkingavatar.drivers.chain import Chain
from talkingavatar.drivers.driver import Driver
from talkingavatar.drivers.space import UNITS, is_units
from talkingavatar.drivers.training import RenderTerm
from talkingavatar.engine.build import build_body, build_clip, clip_of, model_of
from talkingavatar.engine.loop.machine import cores
from talkingavatar.engine.measuring.fit_results import Results
from talkingavatar.engine.measuring.motion_scores import SPOKEN, measure_clip, plot_opening
from talkingavatar.engine.measuring.unit_scores import DEFINITION, measure_units
from talkingavatar.engine.run import checkpoint
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.stages.avatar import AvatarFit
from talkingavatar.engine.stages.stage import Conclusion, Stage, StageContext
from talkingavatar.errors import UserError
from talkingavatar.paths import user_path
from talkingavatar.runtime.progress import track


class DriverFit(Stage):
    """A driver trained on the run's own capture, on embedded speakers and on further captures."""

    def __init__(self, context: StageContext) -> None:
        """An avatar fitted before lends its capture and body, and shows what it draws.

        Raises:
            UserError: a mistake in the options, or clips that do not go together or are too short.
        """
        super().__init__(context)
        config, avatar = self.config, context.last(AvatarFit)
        self.earlier = [stage.driver() for stage in context.before.values() if isinstance(stage, DriverFit)]
        self.kind = driver_class(config.driver.name)
        self.options = self.kind.options(config)
        self.skipped: dict[str, str] = {}
        self.model = model_of(config)
        # On the CPU, as the clips are, whatever the avatar's and the training's own are moved to.
        self.body = build_body(config) if avatar is None else deepcopy(avatar.method.body).to("cpu")
        self.clips = self._clips(avatar)
        self.measured = [clip for clip in self.clips if clip.test]
        render = None if avatar is None else RenderTerm(avatar.mouth_loss, avatar.capture_data.train_frames)
        self.module = self.training = self.kind.training(config, deepcopy(self.body), self.clips, render)
        self.data, self.skipped = self.training.data, self.skipped | self.training.skipped
        if config.driver.init is not None:
            other = RunDirectory(user_path(config.driver.init))
            file = other.checkpoint(self.name)
            with checkpoint.reading(file):
                self.training.adopt(checkpoint.read(file))

    @classmethod
    def check(cls, config: FitConfig) -> None:
        """
        Raises:
            UserError: a mistake in the options, or nothing foretells the units that it is to be prompted with.
        """
        options = driver_class(config.driver.name).options(config)
        if getattr(options, "units", False) and not _foretold_before(config):
            found, expected = "true, and no stage before it foretells them", "a driver of action units"
            raise UserError("driver.options.units", found, expected, "add a stage before it with targets=[units]")

    # -- what is trained on --------------------------------------------------------------------------------------------

    def _clips(self, avatar: AvatarFit | None) -> list[MotionClip]:
        """The run's own first. Its identity is never heard beyond its training part."""
        config = self.config
        if avatar is None:
            own = build_clip(config, self.body)
        else:
            own = capture_clip(avatar.capture_data.capture, config.audio, self.model)
        further = (Capture(user_path(path), cache_mb=1) for path in self.options.captures)
        clips = [own, *(clip_of(capture, config, self.body) for capture in further)]
        clips = self._with_units(clips) if self.options.needs_units else clips
        for identity in self._identities():
            data = whole_speech(config.data, identity, own.fps)
            heldout = config.data.heldout if avatar is None else 0.0
            clips.append(speaker_clip(data, config.audio, self.model, own.fps, heldout))
        for clip in clips:
            if clip.fps != own.fps:
                found = f"{clip.name} at {clip.fps:g} frames a second"
                raise UserError(
                    "driver.options.captures", found, f"{own.fps:g}, as {own.name}", "give captures of one rate"
                )
        names = [clip.name for clip in clips]  # by which speakers are told apart
        return [
            replace(clip, name=f"{clip.name}#{number}") if clip.name in names[:number] else clip
            for number, clip in enumerate(clips)
        ]

    def _with_units(self, clips: list[MotionClip]) -> list[MotionClip]:
        """Those whose action units are known.

        Raises:
            UserError: the run's own are not.
        """
        if clips[0].units is None:
            found = f"{clips[0].name}, whose action units are not known"
            raise UserError("data", found, f"those that stage {self.name} learns of", UNITS_ACTION)
        unknown = [clip.name for clip in clips if clip.units is None]
        self.skipped |= {f"{self.name}/{name}": "its action units are not known" for name in unknown}
        return [clip for clip in clips if clip.units is not None]

    def _identities(self) -> list[int]:
        """Embedded speakers that can be trained on, the run's own left out."""
        config = self.config
        shown, own = source_of(config.data).title(config.data), config.data.identity
        # Nor those who say with its voice what it says beyond its training part.
        heard = voice_of(own) if shown == capture_name(own) else None
        others = [identity for identity in self.options.identities if voice_of(identity) != heard]
        if not others:
            return []
        why = ""
        if config.audio.name == "deepspeech":
            why = "published windows are those of one clip"
        elif not embedded_speakers_fit(self.body, self.model):
            why = f"their motion is the open rig's, not that of {self.body.name}"
        if why:
            self.skipped["driver/identities"] = why
        return [] if why else others

    # -- the run -------------------------------------------------------------------------------------------------------

    def driver(self) -> Driver:
        """As trained so far, on the CPU."""
        training = self.training
        return self.kind.load({"driver": asdict(training.card), "state_dict": training.state_dict()}, self.body)

    def speaking(self) -> Driver:
        """As it is used: behind the drivers of the stages before it."""
        return Chain([*self.earlier, self.driver()]) if self.earlier else self.driver()

    def scalars(self) -> dict[str, float]:
        return self.training.scalars.read()

    def rates(self, step: int) -> dict[str, float]:
        return self.training.rates(step)

    @torch.no_grad()
    def preview(self) -> tuple[dict[str, float], str]:
        """Lip opening on the held-out tail of the first clip, against the tracked one."""
        own, driver = self.clips[0], self.speaking()
        if is_units(driver.space):
            r = measure_units(own, driver).r
            return {"preview/units_r": r}, f"held-out action units follow the tracked ones with r = {r:.2f}"
        if not _opens_mouths(driver):
            return {}, ""
        r = measure_clip(own, driver, self.body, SPOKEN).found["spoken"].metrics["driver/opening_r/tracked"]
        return {"preview/driver_opening_r": r}, f"held-out lips follow the tracked ones with r = {r:.2f}"

    def conclude(self, run: RunDirectory, check: Callable[[], None]) -> Conclusion:
        torch.set_num_threads(cores(self.config))
        driver, results, table, media = self.speaking(), Results(skipped=dict(self.skipped)), [], []
        units = is_units(driver.space)
        measured_clips = self.measured
        if not units and not _opens_mouths(driver):
            measured_clips, results.skipped[self.name] = [], f"{driver.card.driver} foretells no mouth to compare"
        single = len(measured_clips) == 1
        for clip in track(measured_clips, "held-out speech", len(measured_clips), self.config.trainer.progress):
            check()
            prefix = self.name if single else f"{self.name}/{clip.name}"
            if units:
                scores = measure_units(clip, driver)
                results.metrics |= scores.metrics(prefix)
                table += scores.rows()
                continue
            measured = measure_clip(clip, driver, self.body)
            results.add(measured.results(prefix, own=clip is self.clips[0]))
            table += measured.rows()
            file = run.media / f"{prefix.replace('/', '-')}-lips.png"
            plot_opening(measured, file)
            media.append(file)
        results.definitions[self.name] = self._definitions(driver)
        return Conclusion(results, table, media)

    def _definitions(self, driver: Driver) -> dict[str, Any]:
        return {
            "trained_on": {clip.name: clip.train for clip in self.clips},
            "lookahead_s": driver.lookahead,
            "targets": driver.card.targets,
            **({"figures": DEFINITION} if is_units(driver.space) else {}),
        }


def _foretold_before(config: FitConfig) -> bool:
    """Whether a stage of a driver before the one that sees this configuration foretells action units."""
    drivers = [seen_by(config, name).driver for name in of_kind(config, "driver")]
    before = drivers[: drivers.index(config.driver)]
    return any(driver.options.get("targets") == [UNITS] for driver in before)


def _opens_mouths(driver: Driver) -> bool:
    return driver.space.rig is not None and "jaw" in driver.space.rig.parts.parts
