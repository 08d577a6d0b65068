"""The fit of an avatar to a capture."""

from __future__ import annotations

from collections.abc import Callable

import torch

from talkingavatar.config.schema import FitConfig
from talkingavatar.engine.experiment import build_data, build_method, cores
from talkingavatar.engine.media import write_media
from talkingavatar.engine.results import measure, table
from talkingavatar.engine.run import RunDirectory
from talkingavatar.engine.trainable import Conclusion, Trainable
from talkingavatar.methods import method_class
from talkingavatar.metrics.image import psnr


class AvatarFit(Trainable):
    """A method, its capture, its held-out figures and its videos."""

    def __init__(self, config: FitConfig) -> None:
        """
        Raises:
            UserError: a mistake in the method's options, the capture or the body.
        """
        method_class(config.method.name).check(config)
        self.config, self.steps = config, config.budget.steps
        self.data = self.capture_data = build_data(config)
        self.module = self.method = build_method(config, self.capture_data)
        held = self.capture_data.capture.test_frames
        self.preview_frame = held[len(held) // 2]

    def scalars(self) -> dict[str, float]:
        return self.method.scalars

    def rates(self, step: int) -> dict[str, float]:
        return {name: schedule.rate(step) for name, schedule in self.method.schedules.items()}

    @torch.no_grad()
    def preview(self) -> tuple[dict[str, float], str]:
        """PSNR on one held-out frame."""
        method = self.method
        batch = self.capture_data.batch([self.preview_frame]).to(method.device)
        rendering = method.render(method.drive(batch.signal), batch.cameras)
        value = psnr(rendering.rgb, batch.image)
        count = int(method.scalars["gaussians"])
        return {"preview/psnr": value}, f"held-out PSNR {value:.2f} dB, {count} Gaussians"

    def conclude(self, run: RunDirectory, check: Callable[[], None]) -> Conclusion:
        method = self.method.eval().requires_grad_(False)
        torch.set_num_threads(cores(self.config))  # the metrics' networks are large enough
        results = measure(method, self.capture_data, check)
        media = write_media(method, self.capture_data, run.media, check)
        return Conclusion(results, table(results), media)
