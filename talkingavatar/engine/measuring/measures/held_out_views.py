"""Views that were never trained on."""

from __future__ import annotations

from typing import ClassVar

from talkingavatar.engine.measuring.held_out import evenly
from talkingavatar.engine.measuring.measure import Findings, Measure, Setting, to_bytes
from talkingavatar.engine.measuring.truth_above_render import Pair, strip
from talkingavatar.metrics.image import ImageMetrics
from talkingavatar.runtime.progress import ProgressBar

FRAMES = 8


class HeldOutViews(Measure):
    """PSNR, SSIM and LPIPS by held-out cameras, as `view_<name>/<metric>`, and a picture of them.

    Of a few frames, under the condition `full` alone; a condition with a `view` measures all of its own.
    """

    keys = ("view",)
    needs = ("avatar", "plain")
    definitions: ClassVar = {
        "view": "by a camera never trained on, named behind it (of the embedded speaker: degrees from the front)"
    }

    @classmethod
    def missed(cls, setting: Setting) -> tuple[str, ...]:
        return tuple(f"view_{name}" for name in _chosen(setting))

    def finish(self, found: Findings, truth: Findings) -> Findings:
        capture = self.held.pictures.capture
        there, chosen = capture.manifest.test_views, _chosen(self.setting)
        known = {view: capture.seen_by(view, self.held.frames) for view in chosen if view in there}
        frames = {view: evenly(few, FRAMES) for view, few in known.items() if few}
        why = f"no pictures of such a held-out view; there are {', '.join(there) or 'none'}"
        findings = Findings(skipped={f"view_{view}": why for view in chosen if view not in frames})
        pairs: list[Pair] = []
        with ProgressBar("held-out views", sum(map(len, frames.values())), self.setting.progress) as bar:
            for view, few in frames.items():
                findings.metrics |= self._by(view, few, bar, pairs)
        if pairs and self.setting.folder is not None:
            strip(pairs, f"held-out views: {', '.join(frames)}", self.setting.folder / "views.png")
        return findings

    def _by(self, view: str, frames: list[int], bar: ProgressBar, pairs: list[Pair]) -> dict[str, float]:
        avatar = self.setting.avatar
        assert avatar is not None
        method, batch = avatar.method, avatar.data.batch(frames, view=view)
        images = ImageMetrics(self.setting.networks.family("lpips_"))
        for i in range(len(frames)):
            seen = batch.frame(i).to(method.device)
            image = seen.image[0].clamp(0, 1)
            drawn = method.render(method.drive(seen.signal), seen.cameras).rgb[0]
            images.add(drawn, image, {})
            if i % (FRAMES // 2) == 0:
                pairs.append((to_bytes(image), to_bytes(drawn)))
            bar.advance()
        return {key.replace("full/", f"view_{view}/"): value for key, value in images.means().items()}


def _chosen(setting: Setting) -> tuple[str, ...]:
    """The views that are asked for."""
    if setting.options.views is not None:
        return setting.options.views
    data = setting.held.data
    return () if data is None else tuple(data.capture.manifest.test_views)
