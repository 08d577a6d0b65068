"""Shoulders, neck and hips that move as the clothes do.

A pose detector places a shoulder anew in every frame, several pixels off and drawn along by the head (on a real clip of
head and shoulders its motion had a correlation of 0.2 with the shirt's). What the clothes show of the trunk's motion is
exact to a fraction of a pixel but says nothing of where the joints are. So patches of cloth are followed through each
shot, and the detector's median place in it is carried by them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from scipy.ndimage import binary_erosion

from talkingavatar.preprocessing.keypoints import HIPS, SHOULDERS, TRUNK, Keypoints
from talkingavatar.preprocessing.patches import HALF, cut, grey, peaks, search, strengths, structure

TRUNK_VERSION = 2
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
        picture = grey(frame(middle))
        for reference, members in groups:
            first = _similarity(reference.corners, *search(picture, reference.patches, reference.corners, ANYWHERE))
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
                found = search(grey(frame(number)), reference.patches, guess, NEAR)
                motion = _similarity(reference.corners, *found)
                if motion is not None:
                    last = motions[number - start] = motion
            advance()
    return motions


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
    weaker, _ = strengths(*structure(picture))
    corners = peaks(weaker, where, TEXTURE, APART, PATCHES)
    return Reference(number, corners, cut(picture, corners))


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
