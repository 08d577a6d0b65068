"""The published way from face boxes to 224x224 crops (`run_pipeline.py`), and from a capture's frame rate to 25 fps."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch.nn.functional import interpolate

from talkingavatar.errors import UserError

SIZE = 224  # pixels a side of a crop
SCALE = 0.40  # by which the crop is larger than the face
KERNEL = 13  # frames of the median
FOREHEAD = 0.25  # of brow to chin, by which a detector's box reaches above the brows
GREY = 110  # outside the picture
FPS = 25


@dataclass(frozen=True)
class CropTrack:
    """Smoothed half sizes and centres of the face in pixels, one a frame."""

    half: Float[ndarray, " T"]
    x: Float[ndarray, " T"]
    y: Float[ndarray, " T"]

    def __len__(self) -> int:
        return len(self.half)

    @property
    def mean_side(self) -> float:
        """Mean side of the face, pixels; the published pipeline drops tracks of 100 and less."""
        return float(2 * self.half.mean())

    def crop(self, frame: UInt8[ndarray, "H W 3"], index: int) -> UInt8[ndarray, "224 224 3"]:
        """The square from the face's top downwards, 1.4 faces wide, resized without smoothing (as OpenCV does).

        Raises:
            UserError: the face lies outside the picture.
        """
        half, x, y = float(self.half[index]), float(self.x[index]), float(self.y[index])
        border = int(half * (1 + 2 * SCALE))
        top, bottom = int(y + border - half), int(y + border + half * (1 + 2 * SCALE))
        left, right = int(x + border - half * (1 + SCALE)), int(x + border + half * (1 + SCALE))
        padded = np.pad(frame, ((border, border), (border, border), (0, 0)), constant_values=GREY)
        cut = padded[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
        if not cut.size:
            found = f"a face at ({x:.0f}, {y:.0f}) of side {2 * half:.0f} in frame {index}"
            size = f"{frame.shape[1]} x {frame.shape[0]}"
            raise UserError("faces", found, f"a face inside the picture of {size} pixels", "check the face boxes")
        return _resize(cut)


def detector_boxes(marks: Float[ndarray, "T 68 3"]) -> Float[ndarray, "T 4"]:
    """Where a face detector would draw its box: round the landmarks, with the lower part of the forehead."""
    low, high = marks[..., :2].min(1), marks[..., :2].max(1)
    low[:, 1] -= FOREHEAD * (high - low)[:, 1]
    return np.concatenate([low, high], -1)


def crop_track(boxes: Float[ndarray, "T 4"]) -> CropTrack:
    """Boxes (x0, y0, x1, y1) in pixels at 25 fps; unseen faces (NaN) are interpolated, at the ends repeated.

    Raises:
        UserError: no face in any frame, or boxes of no size.
    """
    seen = np.flatnonzero(np.isfinite(boxes).all(1))
    if not len(seen):
        raise UserError("faces", f"no face in {len(boxes)} frames", "face boxes", "give a clip that shows a face")
    frames = np.arange(len(boxes))
    x0, y0, x1, y1 = (np.interp(frames, seen, boxes[seen, column].astype(np.float64)) for column in range(4))
    half = np.maximum(x1 - x0, y1 - y0) / 2
    if (half < 1).any():
        at = int(np.argmax(half < 1))
        raise UserError("faces", f"a box of {2 * half[at]:.1f} pixels in frame {at}", "faces", "check the face boxes")
    # The median sees zeros beyond the ends; in a clip of less than seven frames they would outvote it.
    kernel = min(KERNEL, 2 * len(boxes) - 1)
    return CropTrack(*(_median(track, kernel) for track in (half, (x0 + x1) / 2, (y0 + y1) / 2)))


def _median(track: Float[ndarray, " T"], kernel: int) -> Float[ndarray, " T"]:
    """Running median, with zeros beyond the ends as scipy's `medfilt` has them."""
    return np.median(np.lib.stride_tricks.sliding_window_view(np.pad(track, kernel // 2), kernel), axis=-1)


def to_25fps(frames: int, fps: float) -> list[int]:
    """Which frame of a clip stands at each frame of 25 fps: what ffmpeg's fps filter shows.

    Each frame's time is rounded to the new clock, and each new frame shows the last one that has come by then.
    """
    ratio = FPS / Fraction(fps).limit_denominator(1001)
    clock = [int(i * ratio + Fraction(1, 2)) for i in range(frames)]
    count = int(frames * ratio + Fraction(1, 2))
    return [int(i) for i in np.searchsorted(clock, np.arange(count), side="right") - 1]


def _resize(picture: UInt8[ndarray, "H W 3"]) -> UInt8[ndarray, "224 224 3"]:
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].double()
    resized = interpolate(pixels, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    # Many values are halves but for their last bit, which depends on the number of threads: all of them go up.
    return (resized[0] + 0.5 + 1e-6).floor().clamp(0, 255).byte().permute(1, 2, 0).numpy()
