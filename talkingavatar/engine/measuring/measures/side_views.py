"""Views from the side, of an avatar that was never seen from there."""

from __future__ import annotations

from typing import ClassVar

from talkingavatar.engine.measuring.compared_pictures import true_pictures
from talkingavatar.engine.measuring.held_out import evenly
from talkingavatar.engine.measuring.measure import Findings, Measure, Options, to_bytes
from talkingavatar.engine.measuring.truth_above_render import Pair, strip
from talkingavatar.engine.measuring.unmeasurable import Unmeasurable
from talkingavatar.metrics.image import ImageMetrics
from talkingavatar.runtime.progress import ProgressBar

FRAMES = 8


class SideViews(Measure):
    """PSNR, SSIM and LPIPS from the side, as `view_<degrees>/<metric>`, and a picture of them.

    Of a few frames, under the condition `full` alone; a condition with a `view` measures all of its own.
    """

    keys = ("view",)
    needs = ("avatar", "plain")
    definitions: ClassVar = {"view": "rendered from the side, against the true picture from there; degrees in the name"}

    @classmethod
    def missed(cls, options: Options) -> tuple[str, ...]:
        return tuple(f"view_{angle}" for angle in options.views)

    def finish(self, found: Findings, truth: Findings) -> Findings:
        degrees = self.setting.options.views
        metrics: dict[str, float] = {}
        pairs: list[Pair] = []
        try:
            with ProgressBar("side views", FRAMES * len(degrees), self.setting.progress) as bar:
                for angle in degrees:
                    metrics |= self._from(angle, bar, pairs)
        except Unmeasurable as error:
            return Findings(skipped=dict.fromkeys(self.missed(self.setting.options), str(error)))
        if pairs and self.setting.folder is not None:
            strip(pairs, f"from the side: {', '.join(map(str, degrees))} degrees", self.setting.folder / "views.png")
        return Findings(metrics)

    def _from(self, degrees: int, bar: ProgressBar, pairs: list[Pair]) -> dict[str, float]:
        avatar = self.setting.avatar
        assert avatar is not None
        method, frames = avatar.method, evenly(self.held.frames, FRAMES)
        images = ImageMetrics(self.setting.networks.family("lpips_"))
        pictures = true_pictures(avatar.data, frames, degrees, bar.advance)
        for frame in frames:
            batch = pictures(frame).to(method.device)
            drawn = method.render(method.drive(batch.signal), batch.cameras).rgb[0]
            images.add(drawn, batch.image[0], {})
            if frame in frames[:: FRAMES // 2]:
                pairs.append((to_bytes(batch.image[0]), to_bytes(drawn)))
        return {key.replace("full/", f"view_{degrees}/"): value for key, value in images.means().items()}
