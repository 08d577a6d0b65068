"""Which frame of a capture each picture of a video shows, and whether it stands on the capture's background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from PIL import Image
from scipy.ndimage import uniform_filter1d

from talkingavatar.data.capture import Capture
from talkingavatar.engine.measuring.shown_video import ShownVideo

SMALL = 48  # pixels each way in which motion is compared
FARTHEST = 0.4  # seconds that a video is looked for early or late, and by which its length may differ
SLOW = 15  # frames over which a pixel's own mean is taken off
ALIKE, BETTER = 0.4, 0.02  # correlation in another place that is believed; by how much it is above that in place
PERSON = 0.9  # share of the frames in which a pixel shows the person, not what is behind
FEWEST = 16  # such pixels; fewer, and all are compared
OTHER = 12 / 255  # median difference from the background that makes another


@dataclass(frozen=True)
class Alignment:
    """Frame k (of those looked at) is shown by picture k + `late`."""

    late: int
    alike: float  # correlation of what moves, there
    in_place: float  # and at 0
    other_background: bool


def align(video: ShownVideo, capture: Capture, frames: list[int]) -> Alignment:
    """Where motion of the whole person, the mouth left out, goes together best; 0 where nothing says so clearly.

    The mouth has no say: by how much lips are early or late is measured, not mended.
    """
    shown = np.stack([_small(picture) for picture in video.pictures()])
    true = np.stack([_small(capture.frame(frame)) for frame in frames])
    mattes = np.stack([_small(capture.matte(frame)) for frame in frames])
    compared = _compared(capture, frames, mattes)
    true, moved = (_motion(pixels[:, compared].mean(-1)) for pixels in (true, shown))
    reach = round(FARTHEST * capture.manifest.fps)
    alike = {late: _correlation(true, moved, late) for late in range(-reach, reach + 1)}
    best = max(alike, key=lambda late: alike[late])
    sure = alike[best] > ALIKE and alike[best] - alike[0] > BETTER
    late = best if sure else 0
    behind = _behind(shown, mattes, late, np.array(capture.manifest.background))
    return Alignment(late, round(alike[late], 4), round(alike[0], 4), behind > OTHER)


def _small(picture: UInt8[ndarray, "..."]) -> Float[ndarray, "..."]:
    image = Image.fromarray(picture).resize((SMALL, SMALL), Image.Resampling.BOX)
    return np.asarray(image, np.float32) / 255


def _compared(capture: Capture, frames: list[int], mattes: Float[ndarray, "T s s"]) -> Bool[ndarray, "s s"]:
    """Pixels that show the person in nearly all frames, less the mouth's."""
    inside = (mattes > PERSON).mean(0) > PERSON
    boxes = capture.regions["mouth"][frames]
    boxes = boxes[np.isfinite(boxes).all(1)]
    if len(boxes):
        width, height = capture.manifest.width, capture.manifest.height
        box = np.median(boxes, 0) * SMALL / np.array([width, height, width, height])
        x0, y0 = np.floor(box[:2]).astype(int).clip(0)
        x1, y1 = np.ceil(box[2:]).astype(int)
        inside[y0:y1, x0:x1] = False
    return inside if inside.sum() >= FEWEST else np.ones_like(inside)


def _motion(pixels: Float[ndarray, "T n"]) -> Float[ndarray, "T n"]:
    return pixels - uniform_filter1d(pixels, SLOW, axis=0)


def _correlation(true: Float[ndarray, "T n"], shown: Float[ndarray, "V n"], late: int) -> float:
    start, stop = max(0, -late), min(len(true), len(shown) - late)
    a, b = true[start:stop], shown[start + late : stop + late]
    size = np.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / size if size > 1e-9 else 0.0


def _behind(
    shown: Float[ndarray, "V s s 3"], mattes: Float[ndarray, "T s s"], late: int, background: Float[ndarray, " 3"]
) -> float:
    """Median difference from the background where nobody is; 0 where somebody is everywhere."""
    start, stop = max(0, -late), min(len(mattes), len(shown) - late)
    empty = mattes[start:stop] == 0
    apart = np.abs(shown[start + late : stop + late][empty] - background).max(-1)
    return float(np.median(apart)) if len(apart) else 0.0
