"""PSNR, SSIM and LPIPS of the frame and its regions."""

from __future__ import annotations

from typing import ClassVar

from talkingavatar.engine.measuring.measure import Findings, Found, Measure, Options, Picture, Setting
from talkingavatar.metrics.image import ImageMetrics
from talkingavatar.metrics.lpips import Lpips
from talkingavatar.networks.perceptual import find_backbone
from talkingavatar.types import Batch, DrivingSignal

WATCHED = ("hands", "mouth", "head")  # regions whose absence is told


class PictureQuality(Measure):
    """Of the pixels, as `<region>/<psnr|l1|ssim|lpips_...>`."""

    version = 2
    keys = ("psnr", "l1", "ssim")
    needs = ("pictures", "truth")
    wants = ("lpips_",)
    at_end = True
    definitions: ClassVar = {
        "psnr": "dB, data range 1, rendered values clamped to [0, 1]; mean over frames",
        "l1": "mean absolute difference of pixels in [0, 1]; mean over frames",
        "ssim": "torchmetrics, Gaussian window 11, sigma 1.5, data range 1; mean over frames",
        "lpips_alex": "lpips package v0.1, inputs scaled to [-1, 1]; plain here, x 100 in tables",
        "full": "the whole frame on the run's background",
        "matte": "pixels of the ground truth's matte above 0.5",
        "head": "box round the head's vertices, grown by a fifth",
        "head_neck": "square from the crown to half way from neck to collar, shoulders excluded; from the tracked body",
        "mouth": "box round the mouth's landmarks, grown by a fifth",
        "hands": "boxes round both hands, grown by a fifth; mean over the hands that are seen",
    }

    @classmethod
    def find(cls, options: Options) -> dict[str, Found]:
        return {f"lpips_{name}": _lpips(name, options) for name in options.lpips}

    @classmethod
    def missed(cls, setting: Setting) -> tuple[str, ...]:
        return (*cls.keys, *(f"lpips_{name}" for name in setting.options.lpips))

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.images = ImageMetrics(setting.networks.family("lpips_"))
        self.placed = "face" not in setting.absent
        if self.placed:
            self.boxes = self.held.regions if setting.brief else self.held.boxes

    def add(self, i: int, shown: Picture | None, truth: Batch | None, signal: DrivingSignal) -> None:
        assert shown is not None and truth is not None
        self.images.add(shown.image, truth.image[0], self.boxes[i] if self.placed else {}, truth.matte[0])

    def finish(self, found: Findings, truth: Findings) -> Findings:
        metrics = self.images.means()
        if not self.placed:
            skipped = dict.fromkeys((*WATCHED, "head_neck"), self.setting.absent["face"])
            return Findings(metrics, skipped, per_frame=self.images.by_frame())
        unseen = [f"{region}/psnr" for region in WATCHED if f"{region}/psnr" not in metrics]
        skipped = dict.fromkeys(unseen, "out of sight in all held-out frames")
        return Findings(metrics, skipped, per_frame=self.images.by_frame())


def _lpips(name: str, options: Options) -> Found:
    backbone = find_backbone(name, options.weights)
    if backbone.path is None:
        return Found(why=backbone.why_skipped)
    return Found(Lpips(backbone, options.device), {"file": backbone.path.name, "sha256": backbone.checksum()})
