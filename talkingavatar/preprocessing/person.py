"""A coarse person mask mended by what the picture and the clean plate show.

A small net takes flags, railings and books beside a shoulder for a part of it, and a sleeve for one of the books; its
outline is wrong by a dozen pixels there. Where the plate is known, the neighbourhood of a pixel shows it, as bright as
there or in shadow, or does not; the more there is to see in the plate, the surer. Where it is not, the colours of the
sure subject and of the background near by decide within a wide band; one that both have says nothing
(`shared_colours.py`). Then neighbours agree (`matte_kernels.settle`).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from numpy import ndarray
from scipy import ndimage

from talkingavatar.preprocessing.matte_kernels import deeper, local_mean, sample, settle
from talkingavatar.preprocessing.plate import Plate, grown
from talkingavatar.preprocessing.shared_colours import shared_colours

CAMERA = 0.012  # standard deviation of a camera's noise, at least
SHADOW, LIGHT = 0.7, 1.1  # how bright a place may be against its plate and still be it
CODED = 0.02  # share of its contrast by which a codec changes a place
SHOWN = 0.04  # contrast of a plate, standard deviation, from which a likeness is no chance
OPINION = 3.0  # log odds of a mask that is sure
LIKENESS, DIFFERENCE = 7.0, 4.0  # log odds of the plate's word for and against
REACH = 14  # units beyond the mask within which what differs from the plate may be the person
INSIDE, OUTSIDE = 12, 10  # units from the mask's edge from which it is believed where there is no plate
SOFT, WORD, COLOURS = 6, 0.7, 3.0  # units its edge is blurred by there; weights of its log odds and of the colours'
SIGHT = 100  # units within which a colour that the other side has too says nothing
PART = 0.015  # of the largest part of the mask: what is smaller and apart from it is no part of the person


def mended(
    image: Float32[ndarray, "H W 3"],
    coarse: Float32[ndarray, "H W"],
    plate: Plate | None,
    hands: Bool[ndarray, "H W"],
    unit: float,
) -> Float32[ndarray, "H W"]:
    """The mask in [0, 1].

    Args:
        image: in [0, 1].
        coarse: the net's mask.
        plate: the shot's, if there is one.
        hands: where parts of the mask may be by themselves.
        unit: pixels that are 1 in a picture with a long side of 640.
    """
    behind = np.zeros_like(image) if plate is None else plate.image.astype(np.float32) / 255
    known = np.zeros(coarse.shape, bool) if plate is None else plate.seen
    weighed = coarse if plate is None else _sigmoid(_odds(coarse) + _word(image, coarse, plate, behind, unit))
    labels = np.full(coarse.shape, 1, np.uint8)
    labels[deeper(weighed < 0.2, OUTSIDE * unit) | (known & (weighed < 0.05))] = 0
    labels[deeper(weighed > 0.8, INSIDE * unit)] = 2
    soft = ndimage.gaussian_filter(weighed, SOFT * unit).astype(np.float32)
    odds = np.where(known, _odds(weighed), WORD * _odds(soft)) + _of_colours(image, labels, soft, behind, known, unit)
    mask = np.where(labels == 1, _sigmoid(odds), labels / 2).astype(np.float32)
    settle(image, behind, known, labels, odds.astype(np.float32), mask)
    return np.where(one_person(mask > 0.2, hands), mask, 0).astype(np.float32)


def one_person(mask: Bool[ndarray, "H W"], hands: Bool[ndarray, "H W"]) -> Bool[ndarray, "H W"]:
    """The largest part of a mask, others that are not small, and those at the hands."""
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    wanted = sizes > PART * sizes.max()
    wanted[np.unique(parts[hands & mask])] = True
    wanted[0] = False
    return wanted[parts]


def _word(
    image: Float32[ndarray, "H W 3"],
    coarse: Float32[ndarray, "H W"],
    plate: Plate,
    behind: Float32[ndarray, "H W 3"],
    unit: float,
) -> Float[ndarray, "H W"]:
    """The plate's log odds for the person; 0 where it was never seen."""
    size = 2 * max(1, round(2 * unit)) + 1
    apart, shown = _compared(image, behind, plate.noise, size)
    like = np.clip((4 - apart) / 3, 0, 1) * (0.25 + 0.75 * shown) * plate.seen
    unlike = np.clip((apart - 6) / 6, 0, 1) * plate.seen * grown(coarse > 0.5, REACH * unit)
    # A neighbourhood with a little of the person in it is unlike the plate: the outline lies within.
    return DIFFERENCE * ndimage.grey_erosion(unlike, size) - LIKENESS * like


def _compared(
    image: Float32[ndarray, "H W 3"], plate: Float32[ndarray, "H W 3"], noise: Float32[ndarray, "H W"], size: int
) -> tuple[Float[ndarray, "H W"], Float[ndarray, "H W"]]:
    """How far neighbourhoods are from the plate, in variances of the noise, in the light that brings them nearest;
    and how much there is to see in the plate, in [0, 1]."""

    def mean(values: Float[ndarray, "..."]) -> Float[ndarray, "H W"]:
        return ndimage.uniform_filter(values.sum(axis=2) if values.ndim == 3 else values, size)

    squares, products, own = mean(plate**2), mean(plate * image), mean(image**2)
    light = np.clip(products / np.maximum(squares, 1e-4), SHADOW, LIGHT)
    left = np.maximum(own - 2 * light * products + light**2 * squares, 0)
    contrast = squares - sum(ndimage.uniform_filter(plate[..., c], size) ** 2 for c in range(3))
    contrast = np.maximum(contrast, 0)
    variance = 3 * mean(np.maximum(noise, CAMERA) ** 2) + CODED * contrast
    return left / variance, contrast / (contrast + 3 * SHOWN**2)


def _of_colours(
    image: Float32[ndarray, "H W 3"],
    labels: UInt8[ndarray, "H W"],
    prior: Float32[ndarray, "H W"],
    behind: Float32[ndarray, "H W 3"],
    known: Bool[ndarray, "H W"],
    unit: float,
) -> Float[ndarray, "H W"]:
    """Log odds for the person by the colours of the sure subject and background near by."""
    window = 2 * max(1, round(unit)) + 1
    inner, outer = local_mean(image, labels == 2, window), local_mean(image, labels == 0, window)
    alpha, confidence, _, _ = sample(image, labels, prior, inner, outer, behind, known, round(40 * unit))
    chosen = np.clip(alpha, 0.1, 0.9)
    of_subject, of_ground = shared_colours(image, labels, behind, known, round(SIGHT * unit))
    trust = np.clip(2 * confidence, 0, 1) * (1 - np.where(chosen < 0.5, of_subject, of_ground))
    return COLOURS * trust * np.log(chosen / (1 - chosen))


def _odds(mask: Float[ndarray, "H W"]) -> Float[ndarray, "H W"]:
    within = np.clip(mask, 0.02, 0.98)
    return np.clip(np.log(within / (1 - within)), -OPINION, OPINION)


def _sigmoid(odds: Float[ndarray, "H W"]) -> Float32[ndarray, "H W"]:
    return (1 / (1 + np.exp(-odds))).astype(np.float32)
