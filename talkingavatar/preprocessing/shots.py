"""Where a clip was cut: a picture that the ones before do not explain, nor the ones after.

Each frame is rebuilt from an earlier one, block by block, by the best match nearby; what is left over measures how
much is new. How much the two differ as they stand is a second measure: a jump of a few frames may be all motion, yet
is more of it than the frames beside have. Five things leave much and are no cut, and each is told apart by what else
it does:

- fast motion: speed is carried on, so that a quick step has steps of nearly half its size beside it, and on both
  sides of it; a cut is new all at once, and in fast motion it has a calmer side;
- pictures that stay for several frames, as a low rate has them: a step is compared with the ones before and after
  that changed something;
- a flash, a dropped or a doubled picture: some pair of frames, one before and one after, still match;
- a codec's keyframe, grain: all blocks change alike, those of much texture most;
- light that changes: brightness and contrast are taken off.

A dissolve has no frame that is new. In its middle a picture is found that is a mixture of an earlier and a later one,
where motion from neither explains it. A dip has frames in which the picture is gone, to black, white or any plain
colour, and comes and goes by degrees or stays away for longer than a flash.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Float32, Int16, Int64, UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.runtime.compiled import compiled

LONG_SIDE, BLOCK, REACH = 128, 8, 8  # pixels of the small pictures that are compared
SPAN = 3  # frames apart at most of a pair that is compared
JUMP = 2.4  # how far above the frames beside it, in medians of the clip, a cut is: new content and changes together
CARRIED = 1.75  # times the next frames, that a cut must be above too: a burst of motion is not, its speed is carried on
STAYS, AWAY = 0.3, 8  # medians of either below which a picture stays; frames to look for others that do not
MUCH = 3.0, 5.5  # medians of new content and of changes from which a lower rise is enough: a jump in fast motion
RISE, CALMER = 1.45, 0.45  # that rise, and the most share of its changes that one side of it has
CHANGED = 0.5  # what a median of changes counts for, beside one of new content
FLOORS = 0.009, 0.02  # least medians, as shares of the pictures' contrast: below is coding noise
NEW = 20.0  # of 255: no motion leaves as much; unrelated pictures differ by 30 to 80
ALIKE, AT_MOST = 0.4, 3.5  # share of the blocks whose change may be the codec's, and of how much, of 255
TEXTURE = 0.1  # of a block's mean gradient: what a codec changes in it
MIXED, STRIDE, MIXTURE = 8, 4, 2.5  # frames from a dissolve's middle to what it mixes; looked at every so often; of 255
SHARES = (0.35, 0.5, 0.65)  # of the earlier picture in a mixture
GONE, FADED = 0.15, 0.5  # shares of the clip's contrast below which a picture is gone, or fading


def thumbnail(picture: UInt8[ndarray, "H W 3"]) -> UInt8[ndarray, "h w 3"]:
    """The small picture that is compared."""
    height, width = picture.shape[:2]
    scale = LONG_SIDE / max(height, width)
    size = max(BLOCK, round(width * scale)), max(BLOCK, round(height * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


class Pairs:
    """A measure of how much two frames differ, of all pairs up to `SPAN` frames apart, of 255."""

    def __init__(self) -> None:
        self._values: list[list[float]] = []  # of each frame, against the one 1, 2, ... SPAN before it

    def append(self, values: list[float]) -> None:
        """The next frame's."""
        self._values.append(values)

    @property
    def least(self) -> Float[ndarray, " T"]:
        """Of each frame, the least over the pairs of a frame before it and it or one after it."""
        count, values = len(self._values), self._values
        least = np.zeros(count)
        for t in range(1, count):
            pairs = [(b, span) for span in range(1, SPAN + 1) for b in range(t, t + span)]
            least[t] = min(values[b][span - 1] for b, span in pairs if b < count and b - span >= 0)
        return least

    def height(self, floor: float) -> Float[ndarray, " T"]:
        """Each frame's least, in medians of the clip (at least `floor`, of 255)."""
        return self.least / self._usual(floor)

    def beside(self, floor: float, moved: Bool[ndarray, " T"]) -> Float[ndarray, "2 T"]:
        """The most that the steps before and after each frame leave, of those where something moved; in medians."""
        height, count = self.height(floor), len(moved)
        before = [[u for u in range(t - 1, max(0, t - 1 - AWAY), -1) if moved[u]][:SPAN] for t in range(count)]
        after = [[u for u in range(t + 1, min(count, t + 1 + AWAY)) if moved[u]][:SPAN] for t in range(count)]
        return np.array([[max(height[near], default=0.0) for near in side] for side in (before, after)])

    def rise(self, floor: float, beside: Float[ndarray, "2 T"], carried: float) -> Float[ndarray, " T"]:
        """How far each frame is above the steps beside it and `carried` times the next ones, in medians of the clip."""
        height = self.height(floor)
        doubled = np.array([self._double_step(t) for t in range(len(height))]) / self._usual(floor)
        padded = np.pad(height, 1)
        return height - np.maximum.reduce([*beside, doubled, carried * padded[:-2], carried * padded[2:]])

    def _usual(self, floor: float) -> float:
        return max(floor, float(np.median(self.least[1:])) if len(self._values) > 1 else 0.0, 1e-6)

    def _double_step(self, t: int) -> float:
        """What two frames of the motion on both sides leave: as a frame does that follows a doubled or lost one."""
        if t < 4 or t + 2 >= len(self._values):
            return 0.0
        # Where the picture before is a doubled one, the pair before it.
        return min(max(self._values[t - 1][1], self._values[t - 2][1]), self._values[t + 2][1])


class Cutting:
    """Is shown the thumbnails of a clip one after the other, then tells where it was cut."""

    def __init__(self) -> None:
        self._recent: deque[UInt8[ndarray, "h w 3"]] = deque(maxlen=2 * MIXED + 1)
        self._textures: deque[Float[ndarray, "r c"]] = deque(maxlen=SPAN + 1)
        self._plain: deque[Float32[ndarray, "h2 w2 3"]] = deque(maxlen=SPAN + 1)
        self._news, self._changes = Pairs(), Pairs()
        self._mixtures: dict[int, float] = {}
        self._contrasts: list[float] = []  # of each frame, standard deviation of 255

    def show(self, thumb: UInt8[ndarray, "h w 3"]) -> None:
        """The next frame's thumbnail."""
        self._recent.append(thumb)
        self._textures.append(_texture(thumb))
        self._plain.append(_plain(thumb))
        pictures, number = list(self._recent), len(self._contrasts)
        spans = range(1, min(SPAN, number) + 1)
        self._contrasts.append(float(thumb.std()))
        self._news.append(
            [
                _novelty(pictures[-1 - span], thumb, np.maximum(self._textures[-1 - span], self._textures[-1]))
                for span in spans
            ]
        )
        self._changes.append([_change(self._plain[-1 - span], self._plain[-1]) for span in spans])
        middle = number - MIXED
        if len(pictures) == 2 * MIXED + 1 and middle % STRIDE == 0:
            self._mixtures[middle] = mixture(pictures[0], pictures[MIXED], pictures[-1])

    def cuts(self) -> dict[int, float]:
        """The first frame of each new shot, with how new it is, of 255; a dissolve's or dip's lies in its middle."""
        found = self._sudden()
        for (start, stop), lost in self._dips().items():
            # A quick fade is new in each of its frames.
            found = {t: new for t, new in found.items() if not start - SPAN < t < stop + SPAN}
            found[(start + stop) // 2] = lost
        for middle, strength in self._mixtures.items():
            best = max(self._mixtures.get(middle + d, 0.0) for d in range(-2 * MIXED, 2 * MIXED + 1))
            near = any(abs(middle - t) <= MIXED for t in found)
            if strength > MIXTURE and strength == best and not near:
                found[middle] = strength
        return dict(sorted(found.items()))

    def _sudden(self) -> dict[int, float]:
        contrast = float(np.median(self._contrasts)) if self._contrasts else 0.0
        floors = FLOORS[0] * contrast, FLOORS[1] * contrast
        new, changes = self._news.least, self._changes.height(floors[1])
        moved = np.maximum(self._news.height(floors[0]), changes) > STAYS
        measures = list(zip((self._news, self._changes), floors, (1.0, CHANGED), strict=True))
        beside = [measure.beside(floor, moved) for measure, floor, _ in measures]

        def rise(carried: float) -> Float[ndarray, " T"]:
            rises = [m.rise(floor, b, carried) * share for (m, floor, share), b in zip(measures, beside, strict=True)]
            total = rises[0] + rises[1]
            # One frame or two at an end may be a flash: what comes before or after it is not known.
            total[:SPAN] = total[len(total) - SPAN + 1 :] = 0
            return total

        much = (self._news.height(floors[0]) > MUCH[0]) & (changes > MUCH[1])
        much &= beside[1].min(axis=0) < CALMER * changes
        sudden = (rise(CARRIED) > JUMP) | (much & (rise(1.0) > RISE)) | (new > NEW)
        return {int(t): float(new[t]) for t in np.flatnonzero(sudden) if t > 0}

    def _dips(self) -> dict[tuple[int, int], float]:
        """Where the picture is gone for a while and comes again: first frame, the one after the last, contrast lost."""
        contrasts = np.array(self._contrasts)
        usual = float(np.quantile(contrasts, 0.9)) if len(contrasts) else 0.0
        edges = np.flatnonzero(np.diff(np.pad(contrasts < GONE * usual, 1).astype(int))).reshape(-1, 2)
        return {
            (int(start), int(stop)): usual - float(contrasts[start:stop].min())
            for start, stop in edges
            if start > 0 and stop < len(contrasts)
            # A flash or a lost picture comes at once, and goes at once.
            if stop - start >= SPAN or max(contrasts[start - 1], contrasts[stop]) < FADED * usual
        }


def shots_between(cuts: list[int], frames: int) -> list[tuple[int, int]]:
    """(start, stop) of every shot, stop exclusive."""
    return list(pairwise([0, *cuts, frames]))


def mixture(before: UInt8[ndarray, "h w 3"], middle: UInt8[ndarray, "h w 3"], after: UInt8[ndarray, "h w 3"]) -> float:
    """How much better, of 255, the middle picture is explained as a mixture of the others than by motion of either."""
    m = middle.astype(np.float32)
    a, b = _lit_as(before, middle), _lit_as(after, middle)
    moved = np.minimum(residuals(a, middle), residuals(b, middle))
    mixed = min(
        (_blocks(np.abs(m - share * before - (1 - share) * after).mean(axis=2)) for share in SHARES),
        key=lambda left: float(left.mean()),
    )
    return float(np.maximum(moved - mixed - 1, 0).mean())


def residuals(source: UInt8[ndarray, "h w 3"], target: UInt8[ndarray, "h w 3"]) -> Float32[ndarray, "r c"]:
    """Of each of the target's blocks, the least mean absolute difference to a block of the source within reach."""
    return _residuals(source.astype(np.int16), target.astype(np.int16), OFFSETS)


def _novelty(before: UInt8[ndarray, "h w 3"], after: UInt8[ndarray, "h w 3"], texture: Float[ndarray, "r c"]) -> float:
    """What block motion leaves, the worse of both directions, beyond what a codec changes."""
    left = [_beyond_coding(found, texture) for found in (residuals(before, after), residuals(after, before))]
    return max(left)


def _beyond_coding(left: Float32[ndarray, "r c"], texture: Float[ndarray, "r c"]) -> float:
    alike = min(float(np.quantile(left, ALIKE)), AT_MOST)
    return float(np.maximum(left - alike - TEXTURE * texture, 0).mean())


def _plain(thumb: UInt8[ndarray, "h w 3"]) -> Float32[ndarray, "h2 w2 3"]:
    """At half the size, without the mean of each channel."""
    height, width = thumb.shape[0] // 2, thumb.shape[1] // 2
    half = thumb[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3).mean(axis=(1, 3), dtype=np.float32)
    return half - half.mean(axis=(0, 1))


def _change(before: Float32[ndarray, "h2 w2 3"], after: Float32[ndarray, "h2 w2 3"]) -> float:
    """Mean absolute difference once both have the lower one's contrast: a lamp, a fade are no change."""
    contrasts = float(before.std()), float(after.std())
    a, b = (min(contrasts) / max(c, 1e-3) for c in contrasts)
    return float(np.abs(b * after - a * before).mean())


def _lit_as(picture: UInt8[ndarray, "h w 3"], other: UInt8[ndarray, "h w 3"]) -> UInt8[ndarray, "h w 3"]:
    """The picture with the other's brightness and contrast."""
    contrast = float(other.std()) / max(float(picture.std()), 1.0)
    return np.clip((picture - picture.mean()) * contrast + other.mean() + 0.5, 0, 255).astype(np.uint8)


def _texture(thumb: UInt8[ndarray, "h w 3"]) -> Float[ndarray, "r c"]:
    """Mean gradient of each block, of 255 a pixel."""
    rows, columns = np.gradient(thumb.astype(np.float32), axis=(0, 1))
    return _blocks(np.hypot(rows, columns).mean(axis=2))


def _blocks(values: Float[ndarray, "h w"]) -> Float[ndarray, "r c"]:
    """Means of the blocks."""
    rows, columns = values.shape[0] // BLOCK, values.shape[1] // BLOCK
    return values[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK).mean(axis=(1, 3))


def _offsets() -> Int64[ndarray, "N 2"]:
    """Rows and columns within reach, the nearest first: the best match is mostly there, and ends all others early."""
    side = np.arange(-REACH, REACH + 1)
    all_of_them = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    return all_of_them[np.argsort((all_of_them**2).sum(axis=1), kind="stable")].astype(np.int64)


OFFSETS = _offsets()


@no_type_check
@compiled
def _residuals(
    source: Int16[ndarray, "h w 3"], target: Int16[ndarray, "h w 3"], offsets: Int64[ndarray, "N 2"]
) -> Float32[ndarray, "r c"]:
    """See `residuals`."""
    height, width, _ = target.shape
    left = np.empty((height // BLOCK, width // BLOCK), np.float32)
    for row in range(height // BLOCK):
        for column in range(width // BLOCK):
            y, x = row * BLOCK, column * BLOCK
            best = 255 * 3 * BLOCK * BLOCK + 1
            for n in range(len(offsets)):
                v, u = y + offsets[n, 0], x + offsets[n, 1]
                if v < 0 or u < 0 or v > height - BLOCK or u > width - BLOCK:
                    continue
                error = 0
                for i in range(BLOCK):
                    for j in range(BLOCK):
                        for c in range(3):
                            error += abs(target[y + i, x + j, c] - source[v + i, u + j, c])
                    if error >= best:
                        break
                best = min(best, error)
            left[row, column] = best / (3 * BLOCK * BLOCK)
    return left
