"""Image metrics on the full frame and on crops.

PSNR and SSIM (Gaussian window 11, sigma 1.5) are torchmetrics' with data range 1, on pictures clamped to [0, 1]; LPIPS
is the lpips package's. A crop is the region's box of the capture, grown by a tenth and clipped to the frame.
"""

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from talkingavatar.errors import UserError
from talkingavatar.metrics.lpips import Lpips

SMALLEST = 48  # pixels a side: below that SSIM and LPIPS say nothing, so crops are grown to it


@dataclass
class ImageMetrics:
    """Collects the metrics of frames, by region; `means()` are their averages over the frames that show the region."""

    lpips: dict[str, Lpips] = field(default_factory=dict)  # by backbone
    values: dict[str, list[float]] = field(default_factory=dict)
    places: dict[str, list[int]] = field(default_factory=dict)  # which of the frames that were added each value is of
    added: int = 0  # frames

    def add(
        self,
        rendered: Float[Tensor, "H W 3"],
        target: Float[Tensor, "H W 3"],
        boxes: dict[str, Float[np.ndarray, " 4"]],
        matte: Float[Tensor, "H W 1"] | None = None,
    ) -> None:
        """One frame. `boxes` in pixels (x0, y0, x1, y1); a box of NaN is a region out of sight.

        With a `matte`, PSNR is taken over the person's pixels alone as well: an empty background flatters.

        Raises:
            UserError: pictures of different sizes, a target outside [0, 1], or a box without any pixel in the picture.
        """
        check_comparable(rendered, target, boxes)
        rendered = rendered.clamp(0, 1)
        self.measure("full", rendered, target)
        if matte is not None and (inside := matte[..., 0] > 0.5).any():
            value = float(peak_signal_noise_ratio(rendered[inside], target[inside], data_range=1.0))
            self._keep("matte/psnr", value)
        for region, box in boxes.items():
            if np.isfinite(box).all():
                rows, columns = crop_slices(box, target.shape[0], target.shape[1])
                self.measure(region, rendered[rows, columns], target[rows, columns])
        self.added += 1

    def by_frame(self) -> dict[str, Float[np.ndarray, " T"]]:
        """`<region>/<metric>` of every frame that was added; NaN where the region is out of sight."""
        found = {}
        for key, values in self.values.items():
            found[key] = np.full(self.added, np.nan)
            found[key][self.places[key]] = values
        for metric in sorted({key.split("/")[1] for key in found}):
            sides = [found[key] for side in ("left", "right") if (key := f"{side}_hand/{metric}") in found]
            if sides:
                seen = np.sum(np.isfinite(sides), 0)
                found[f"hands/{metric}"] = np.where(seen > 0, np.nansum(sides, 0) / np.maximum(seen, 1), np.nan)
        return found

    def means(self) -> dict[str, float]:
        """`<region>/<metric>` to mean; `hands` are both hands wherever one is seen."""
        values = dict(self.values)
        for metric in sorted({key.split("/")[1] for key in values}):
            hands = [v for side in ("left", "right") for v in values.get(f"{side}_hand/{metric}", [])]
            values |= {f"hands/{metric}": hands} if hands else {}
        return {key: float(np.mean(found)) for key, found in values.items()}

    def measure(self, region: str, a: Float[Tensor, "H W 3"], b: Float[Tensor, "H W 3"]) -> None:
        """Two pictures of a region in [0, 1], cut out already."""
        x, y = a.permute(2, 0, 1)[None], b.permute(2, 0, 1)[None]
        measured = {
            "psnr": float(peak_signal_noise_ratio(x, y, data_range=1.0)),
            "l1": float((a - b).abs().mean()),
            "ssim": float(cast(Tensor, structural_similarity_index_measure(x, y, data_range=1.0))),
        }
        measured |= {f"lpips_{name}": network(a, b) for name, network in self.lpips.items()}
        for name, value in measured.items():
            self._keep(f"{region}/{name}", value)

    def _keep(self, key: str, value: float) -> None:
        self.values.setdefault(key, []).append(value)
        self.places.setdefault(key, []).append(self.added)


def check_comparable(rendered: Tensor, target: Tensor, boxes: dict[str, Float[np.ndarray, " 4"]]) -> None:
    """
    Raises:
        UserError: see `ImageMetrics.add`.
    """
    if rendered.shape != target.shape:
        sizes = (f"{tuple(picture.shape)}" for picture in (rendered, target))
        raise UserError("rendered picture", next(sizes), f"{next(sizes)}, the target's", "render at the target's size")
    low, high = float(target.min()), float(target.max())
    if low < 0 or high > 1:
        raise UserError("target picture", f"values from {low:g} to {high:g}", "[0, 1]", "divide 8-bit pictures by 255")
    height, width = target.shape[:2]
    for region, (x0, y0, x1, y1) in boxes.items():
        if x1 <= max(x0, 0) or y1 <= max(y0, 0) or x0 >= width or y0 >= height:
            box = f"({x0:g}, {y0:g}, {x1:g}, {y1:g})"
            expected = f"a box in the picture of {width} x {height}, or NaN where it is out of sight"
            raise UserError(f"{region} crop", f"the empty box {box}", expected, "make the capture's regions again")


def crop_slices(box: Float[np.ndarray, " 4"], height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a region's crop."""
    x0, y0, x1, y1 = (float(v) for v in box)
    columns, rows = _span(x0, x1, width), _span(y0, y1, height)
    return slice(*rows), slice(*columns)


def _span(low: float, high: float, limit: int) -> tuple[int, int]:
    size = min(max((high - low) * 1.2, SMALLEST), limit)
    start = round(min(max((low + high - size) / 2, 0), limit - size))
    return start, start + round(size)


def psnr(a: Float[Tensor, "*b H W 3"], b: Float[Tensor, "*b H W 3"]) -> float:
    """PSNR in dB of pictures in [0, 1]."""
    return float(-10 * torch.log10((a.clamp(0, 1) - b).square().mean().clamp_min(1e-12)))
