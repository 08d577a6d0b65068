"""The fit of a driver: speech and motion of one or many speakers, and its held-out figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from talkingavatar.config.schema import FitConfig
from talkingavatar.data.capture import Model
from talkingavatar.data.motion_clips import (
    MotionClip,
    capture_clip,
    embedded_speakers_fit,
    speaker_clip,
    whole_speech,
)
from talkingavatar.drivers import driver_class
from talkingavatar.drivers.driver import Driver
from talkingavatar.drivers.training import RenderTerm
from talkingavatar.engine.build import build_body, build_clip, clip_of_capture
from talkingavatar.engine.loop.machine import cores
from talkingavatar.engine.measuring.fit_results import Results
from talkingavatar.engine.measuring.motion_scores import SPOKEN, measure_clip, plot_opening
from talkingavatar.engine.run import checkpoint
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.stages.avatar import AvatarFit
from talkingavatar.engine.stages.stage import Conclusion, Stage
from talkingavatar.errors import UserError
from talkingavatar.runtime.progress import track
from talkingavatar.types import BodyPose


class DriverFit(Stage):
    """A driver trained on the run's own capture, on embedded speakers and on further captures."""

    file = "driver.ckpt"

    def __init__(
        self,
        config: FitConfig,
        avatar: AvatarFit | None = None,
        render_loss: Callable[[BodyPose, int], Tensor] | None = None,
    ) -> None:
        """
        Args:
            avatar: fitted before, whose capture and body are the driver's; None: a run of the driver alone.
            render_loss: of one frame of the run's capture in a foretold pose (`drivers.training.RenderTerm`).

        Raises:
            UserError: a mistake in the options, or clips that do not go together or are too short.
        """
        self.config, self.steps = config, config.driver.steps
        self.kind = driver_class(config.driver.name)
        self.options = self.kind.options(config)
        self.skipped: dict[str, str] = {}
        self.model: Model = "flame" if "flame" in config.body.name else "smplx"
        self.body = avatar.method.body if avatar is not None else build_body(config)
        self.clips = self._clips(avatar)
        self.measured = [clip for clip in self.clips if clip.test]
        render = None
        if render_loss is not None and avatar is not None:
            render = RenderTerm(render_loss, avatar.capture_data.train_frames)
        self.module = self.training = self.kind.training(config, self.body, self.clips, render)
        self.data, self.skipped = self.training.data, self.skipped | self.training.skipped
        if config.driver.init is not None:
            self.training.adopt(checkpoint.read(Path(config.driver.init).expanduser() / self.file))

    # -- what is trained on --------------------------------------------------------------------------------------------

    def _clips(self, avatar: AvatarFit | None) -> list[MotionClip]:
        """The run's own first. Its identity is never heard beyond its training part."""
        config = self.config
        if avatar is None:
            own = build_clip(config, self.body)
        else:
            own = capture_clip(avatar.capture_data.capture, config.audio, self.model)
        clips = [own, *(clip_of_capture(Path(path), config, self.model, self.body) for path in self.options.captures)]
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

    def _identities(self) -> list[int]:
        """Embedded speakers that can be trained on, the run's own left out."""
        config = self.config
        others = [i for i in self.options.identities if config.data.name != "speaker" or i != config.data.identity]
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

    def scalars(self) -> dict[str, float]:
        return self.training.scalars

    def rates(self, step: int) -> dict[str, float]:
        return self.training.rates(step)

    @torch.no_grad()
    def preview(self) -> tuple[dict[str, float], str]:
        """Lip opening on the held-out tail of the first clip, against the tracked one."""
        measured = measure_clip(self.clips[0], self.driver(), self.body, SPOKEN)
        r = measured.found["spoken"].metrics["driver/opening_r/tracked"]
        return {"preview/driver_opening_r": r}, f"held-out lips follow the tracked ones with r = {r:.2f}"

    def conclude(self, run: RunDirectory, check: Callable[[], None]) -> Conclusion:
        torch.set_num_threads(cores(self.config))
        driver, results, table, media = self.driver(), Results(skipped=dict(self.skipped)), [], []
        single = len(self.measured) == 1
        for clip in track(self.measured, "held-out speech", len(self.measured), self.config.trainer.progress):
            check()
            measured = measure_clip(clip, driver, self.body)
            results.add(measured.results("driver" if single else f"driver/{clip.name}", own=clip is self.clips[0]))
            table += measured.rows()
            file = run.media / (f"lips-{clip.name}.png" if not single else "lips.png")
            plot_opening(measured, file)
            media.append(file)
        results.definitions["driver"] = self._definitions(driver)
        return Conclusion(results, table, media)

    def _definitions(self, driver: Driver) -> dict[str, Any]:
        return {
            "trained_on": {clip.name: clip.train for clip in self.clips},
            "lookahead_s": driver.lookahead,
            "targets": driver.card.targets,
        }
