"""The fit of an avatar to a capture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.config.schema import FitConfig
from talkingavatar.engine.build import build_body, build_data, build_method
from talkingavatar.engine.driver import driver_beside
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.engine.loop.machine import cores
from talkingavatar.engine.measuring.avatar_scores import measure, table
from talkingavatar.engine.media.end_of_fit import write_media
from talkingavatar.engine.media.feelings import feels, write_feelings
from talkingavatar.engine.performing.perform import speak
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.stages.stage import Conclusion, Stage, StageContext
from talkingavatar.losses import l1
from talkingavatar.methods import method_class
from talkingavatar.metrics.image import crop_slices, psnr
from talkingavatar.types import BodyPose, pinned


class AvatarFit(Stage):
    """A method, its capture, its held-out figures and its videos."""

    def __init__(self, context: StageContext) -> None:
        """
        Raises:
            UserError: a mistake in the capture or the body.
        """
        super().__init__(context)
        config = self.config
        body = build_body(config)  # before the data, which may take minutes to make
        self.data = self.capture_data = build_data(config, body)
        self.module = self.method = build_method(config, self.capture_data, body)
        self.method.begin()
        held = self.capture_data.capture.test_frames
        self.preview_frame = held[len(held) // 2]

    @classmethod
    def check(cls, config: FitConfig) -> None:
        method_class(config.method.name).check(config)

    def scalars(self) -> dict[str, float]:
        return self.method.scalars.read()

    def rates(self, step: int) -> dict[str, float]:
        return {name: schedule.rate(step) for name, schedule in self.method.schedules.items()}

    @torch.no_grad()
    def preview(self) -> tuple[dict[str, float], str]:
        """PSNR on one held-out frame."""
        method = self.method
        batch = self.capture_data.batch([self.preview_frame]).to(method.device)
        rendering = method.render(method.drive(batch.signal), batch.cameras)
        value = psnr(rendering.rgb, batch.image)
        count = int(method.scalars.known["gaussians"])
        return {"preview/psnr": value}, f"held-out PSNR {value:.2f} dB, {count} Gaussians"

    def mouth_loss(self, pose: BodyPose, frame: int) -> Float[Tensor, "h w 3"]:
        """Difference of a training frame's mouth and what the avatar, as it is, draws of it in another pose.

        The whole picture counts where the mouth is out of sight. The difference lies where the pose does.
        """
        method = self.method.requires_grad_(False)
        self.capture_data.keep_on(method.device)
        batch = self.capture_data.training_batch([frame])
        batch = (pinned(batch) if method.device.type == "cuda" else batch).to(method.device)
        signal = method.reposed(batch.signal, pose.to(method.device))
        rendering = method.render(method.drive(signal), batch.cameras)
        box, manifest = self.capture_data.capture.regions["mouth"][frame], self.capture_data.capture.manifest
        rows, columns = slice(None), slice(None)
        if np.isfinite(box).all():
            rows, columns = crop_slices(box, manifest.height, manifest.width)
        return l1(rendering.rgb[0, rows, columns], batch.image[0, rows, columns]).to(pose.transl.device)

    def conclude(self, run: RunDirectory, check: Callable[[], None]) -> Conclusion:
        method = self.method.eval().requires_grad_(False)
        torch.set_num_threads(cores(self.config))  # the metrics' networks are large enough
        driver = driver_beside(run, self.config, method.body)
        avatar = FittedRun(run, run.checkpoint(self.name), self.capture_data, method, driver)
        results = measure(avatar, check)
        media = write_media(method, self.capture_data, run.media, check)
        if driver is not None:
            media.append(speak(avatar))
        if feels(avatar):
            media += write_feelings(avatar, check)
        return Conclusion(results, table(results), media)
