"""Shoulders, neck and hips that move as the clothes do.

A pose detector places a shoulder anew in every frame, several pixels off and drawn along by the head (on a real clip of
head and shoulders its motion had a correlation of 0.2 with the shirt's). What the clothes show of the trunk's motion is
exact to a fraction of a pixel but says nothing of where the joints are. So patches of cloth are followed through each
shot, and the detector's median place in it is carried by them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from scipy.ndimage import binary_erosion, gaussian_filter, maximum_filter

from talkingavatar.preprocessing.keypoints import HIPS, SHOULDERS, TRUNK, Keypoints

TRUNK_VERSION = 1
HALF = 8  # pixels: half of a patch's side
NEAR, ANYWHERE = 6, 40  # pixels a patch is looked for from where it was: in the next frame, in another shot
PATCHES, APART = 40, 11  # at most, and pixels between them
SAME = 0.75  # correlation above which a patch is found again
FEWEST = 5  # patches that tell a motion
TEXTURE = 0.3  # squared grey levels a pixel by which a patch must differ from its neighbours

STILL = np.array([[1.0, 0, 0], [0, 1, 0]])

Frame = Callable[[int], UInt8[ndarray, "H W 3"]]
Mask = Callable[[int], Float[ndarray, "H W"]]


@dataclass(frozen=True)
class Reference:
    """Patches of cloth in one frame."""

    frame: int
    corners: Float[ndarray, "N 2"]  # centres x, y
    patches: Float[ndarray, "N P P"]  # zero mean, unit norm


@dataclass(frozen=True)
class Steadied:
    """Keypoints with the trunk's carried by the cloth; `followed` says in which frames that could be seen."""

    keypoints: Keypoints
    followed: Bool[ndarray, " T"]


def steady_trunk(
    keypoints: Keypoints,
    shots: Sequence[tuple[int, int]],
    frame: Frame,
    mask: Mask,
    progress: Callable[[str, int], Callable[[], None]],
) -> Steadied:
    """Carry shoulders, neck and hips by the motion of the clothes.

    Shots that show the same clothes share one place of each point on them; a shot in which they cannot be found
    again has its own.

    Args:
        keypoints: as detected.
        shots: (start, stop), stop exclusive.
        frame, mask: picture and coverage of the person in [0, 1], of a frame by its number.
        progress: `progress(title, total)` returns what is called after each frame.
    """
    advance = progress("clothes", len(keypoints))
    motions = np.full((len(keypoints), 2, 3), np.nan)
    groups: list[tuple[Reference, list[tuple[int, int]]]] = []
    for start, stop in sorted(shots, key=lambda shot: shot[0] - shot[1]):  # the longest first
        middle = (start + stop) // 2
        picture = _grey(frame(middle))
        for reference, members in groups:
            first = _similarity(reference.corners, *_search(picture, reference.patches, reference.corners, ANYWHERE))
            if first is not None:
                members.append((start, stop))
                break
        else:
            reference = _reference(middle, picture, _trunk(keypoints.points[middle], mask(middle)))
            groups.append((reference, [(start, stop)]))
            first = STILL if len(reference.corners) >= FEWEST else None
        motions[start:stop] = _follow(reference, first, start, stop, frame, advance)
    points = keypoints.points.copy()
    for _, members in groups:
        for point in TRUNK:
            rows = np.concatenate([np.arange(*shot) for shot in members])
            points[rows, point, :2] = _carried(points[rows, point, :2], motions[rows])
    return Steadied(replace(keypoints, points=points), np.isfinite(motions).all((1, 2)))


def _carried(detected: Float[ndarray, "T 2"], motions: Float[ndarray, "T 2 3"]) -> Float[ndarray, "T 2"]:
    """The detected point's median place on the cloth, moved as the cloth moves; gaps stay gaps."""
    known = np.isfinite(detected).all(1) & np.isfinite(motions).all((1, 2))
    if not known.any():
        return detected
    linear, shift = motions[known, :, :2], motions[known, :, 2]
    place = np.median(np.linalg.solve(linear, (detected[known] - shift)[..., None])[..., 0], axis=0)
    result = detected.copy()
    result[known] = linear @ place + shift
    return result


def _follow(
    reference: Reference,
    first: Float[ndarray, "2 3"] | None,
    start: int,
    stop: int,
    frame: Frame,
    advance: Callable[[], None],
) -> Float[ndarray, "S 2 3"]:
    """Motion of the cloth from the reference to each frame of a shot; NaN where it was lost.

    `first`: to the shot's middle frame, from which it is followed to both ends.
    """
    middle = (start + stop) // 2
    motions = np.full((stop - start, 2, 3), np.nan)
    if first is not None:
        motions[middle - start] = first
    advance()
    for numbers in (range(middle + 1, stop), range(middle - 1, start - 1, -1)):
        last = first
        for number in numbers:
            if last is not None:
                guess = reference.corners @ last[:, :2].T + last[:, 2]
                found = _search(_grey(frame(number)), reference.patches, guess, NEAR)
                motion = _similarity(reference.corners, *found)
                if motion is not None:
                    last = motions[number - start] = motion
            advance()
    return motions


def _grey(picture: UInt8[ndarray, "H W 3"]) -> Float[ndarray, "H W"]:
    return gaussian_filter(picture.mean(-1), 0.7).astype(np.float32)


def _trunk(points: Float[ndarray, "135 3"], mask: Float[ndarray, "H W"]) -> Bool[ndarray, "H W"]:
    """Pixels of the person between the shoulders, from the neck down to the hips or the picture's end."""
    height, width = mask.shape
    inside = binary_erosion(mask > 0.5, iterations=HALF // 2)
    shoulders = points[list(SHOULDERS), :2]
    if not np.isfinite(shoulders).all():
        return np.zeros_like(inside)
    span = abs(shoulders[0, 0] - shoulders[1, 0])
    left, right = shoulders[:, 0].min() - 0.15 * span, shoulders[:, 0].max() + 0.15 * span
    top = shoulders[:, 1].mean() - 0.1 * span
    hips = points[list(HIPS), 1]
    bottom = np.nanmean(hips) if np.isfinite(hips).any() else height
    y, x = np.mgrid[:height, :width]
    return inside & (x > left) & (x < right) & (y > top) & (y < bottom)


def _reference(number: int, picture: Float[ndarray, "H W"], where: Bool[ndarray, "H W"]) -> Reference:
    corners = _corners(picture, where)
    patches = [_cut(picture, corner) for corner in corners]
    return Reference(number, corners, np.array(patches, np.float32).reshape(-1, 2 * HALF + 1, 2 * HALF + 1))


def _corners(picture: Float[ndarray, "H W"], where: Bool[ndarray, "H W"]) -> Float[ndarray, "N 2"]:
    """Places (x, y) whose patch can be told from its neighbours (Shi and Tomasi 1994), the best first."""
    dy, dx = np.gradient(picture)
    xx, yy, xy = (gaussian_filter(a, HALF / 2) for a in (dx * dx, dy * dy, dx * dy))
    weaker = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    edge = HALF + 2
    allowed = where.copy()
    allowed[:edge], allowed[-edge:], allowed[:, :edge], allowed[:, -edge:] = False, False, False, False
    peak = allowed & (weaker == maximum_filter(weaker, APART)) & (weaker > TEXTURE)
    rows, columns = np.nonzero(peak)
    order = np.argsort(-weaker[rows, columns])[:PATCHES]
    return np.stack([columns[order], rows[order]], 1).astype(np.float64)


def _cut(picture: Float[ndarray, "H W"], corner: Float[ndarray, " 2"]) -> Float[ndarray, "P P"]:
    x, y = corner.astype(int)
    patch = picture[y - HALF : y + HALF + 1, x - HALF : x + HALF + 1]
    return ((patch - patch.mean()) / max(float(np.linalg.norm(patch - patch.mean())), 1e-6)).astype(np.float32)


def _similarity(
    before: Float[ndarray, "N 2"], after: Float[ndarray, "N 2"], score: Float[ndarray, " N"]
) -> Float[ndarray, "2 3"] | None:
    """Turn, scale and shift by least squares over the patches found again, outliers taken out; None with too few left.

    Four numbers, not the six of an affine motion: shoulders lie beyond the patches, where two more run wild.
    """
    keep = good = score > SAME
    x, y = before.T
    zero, one = np.zeros_like(x), np.ones_like(x)
    design = np.stack([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)], 1)  # N 2 4
    for reach in (6.0, 3.0, 1.5):
        if keep.sum() < FEWEST:
            return None
        (a, b, right, down), *_ = np.linalg.lstsq(design[keep].reshape(-1, 4), after[keep].ravel(), rcond=None)
        off = np.linalg.norm(design @ np.array([a, b, right, down]) - after, axis=1)
        keep = good & (off < reach)
    return np.array([[a, -b, right], [b, a, down]])


@no_type_check
@numba.njit(cache=True, fastmath=True)
def _search(picture, patches, guess, search):  # noqa: ANN001, ANN202
    """Where each patch is found again near its guess, to a fraction of a pixel, and its correlation there."""
    count, side, _ = patches.shape
    half = side // 2
    height, width = picture.shape
    reach = 2 * search + 1
    found, best = guess.copy(), np.full(count, -1.0)
    score = np.empty((reach, reach))
    for n in range(count):
        x0, y0 = round(guess[n, 0]) - search, round(guess[n, 1]) - search
        top, column, row = -1.0, 0, 0
        for v in range(reach):
            for u in range(reach):
                x, y = x0 + u, y0 + v
                score[v, u] = -1.0
                if x < half or y < half or x + half >= width or y + half >= height:
                    continue
                total, square, product = 0.0, 0.0, 0.0
                for j in range(side):
                    for i in range(side):
                        value = picture[y + j - half, x + i - half]
                        total += value
                        square += value * value
                        product += value * patches[n, j, i]
                variance = square - total * total / (side * side)
                if variance > 1e-3:
                    score[v, u] = product / np.sqrt(variance)
                if score[v, u] > top:
                    top, column, row = score[v, u], u, v
        if 0 < column < reach - 1 and 0 < row < reach - 1:
            left, right = score[row, column - 1], score[row, column + 1]
            above, below = score[row - 1, column], score[row + 1, column]
            if min(left, right, above, below) > -1.0:
                best[n] = top
                found[n, 0] = x0 + column + 0.5 * (left - right) / (left + right - 2 * top - 1e-9)
                found[n, 1] = y0 + row + 0.5 * (above - below) / (above + below - 2 * top - 1e-9)
    return found, best
