"""How sharp a picture is without another to compare with: CPBD."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.ndimage import sobel
from torch import Tensor

BLOCK = 64  # pixels a side, in which contrast is taken
EDGES = 0.002  # share of a block's pixels, from which it is one with edges
CONTRAST, WIDTHS = 50, (5.0, 3.0)  # of 255: up to it an edge is seen as blurred from 5 pixels on, above it from 3
BETA = 3.6  # steepness of that, as observers told it
SEEN = 0.63  # probability that blur is seen in an edge just as wide
STRONG = 4.0  # times the mean squared gradient: an edge
LUMA = (0.299, 0.587, 0.114)


def cpbd(picture: Float[Tensor, "H W 3"]) -> float:
    """Cumulative probability of blur detection: share of edges in which no blur is seen, 0 to 1, higher is sharper.

    Upright edges, thinned, by Sobel's operator; an edge is as wide as its row of pixels keeps rising or falling. Where
    the published code takes Canny's edges to tell which blocks have any, these do. Values count in 255 steps.

    Returns:
        NaN where there is no edge, as in a picture of less than a block.

    Source: Narvekar and Karam, IEEE Transactions on Image Processing 20(9), 2011.
    """
    grey = (picture.detach().cpu().double() @ torch.tensor(LUMA, dtype=torch.float64)).numpy()
    grey = np.round(255 * grey.clip(0, 1))
    rows, columns = (BLOCK * (size // BLOCK) for size in grey.shape)
    places, widths = _edges(grey)
    inside = (places[0] < rows) & (places[1] < columns)
    places, widths = places[:, inside], widths[inside]
    contrasts = np.ptp(grey[:rows, :columns].reshape(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK), axis=(1, 3))
    block = tuple(places // BLOCK)
    counts = np.zeros(contrasts.shape)
    np.add.at(counts, block, 1)
    counted = counts[block] > EDGES * BLOCK**2
    if not counted.any():
        return float("nan")
    usual = np.where(contrasts[block] > CONTRAST, WIDTHS[1], WIDTHS[0])
    seen = 1 - np.exp(-((widths / usual) ** BETA))
    return float((seen[counted] <= SEEN).mean())


def _edges(grey: Float[ndarray, "H W"]) -> tuple[Int[ndarray, "2 E"], Int[ndarray, " E"]]:
    """Rows and columns of upright edges, and how many pixels wide each is."""
    slope = sobel(grey, axis=1, mode="nearest")
    strength = np.square(slope)
    before, after = np.roll(strength, 1, 1), np.roll(strength, -1, 1)
    found = (strength > STRONG * strength.mean()) & (strength >= before) & (strength > after)
    found[:, [0, -1]] = False
    rising, falling = _extents(grey), _extents(-grey)
    places = np.stack(found.nonzero())
    return places, np.where(slope > 0, rising, falling)[found]


def _extents(grey: Float[ndarray, "H W"]) -> Int[ndarray, "H W"]:
    """Length of the rise from left to right that each pixel lies in, from its lowest pixel to its highest."""
    steps = np.diff(grey, axis=1) > 0
    back = _runs(steps)
    ahead = _runs(steps[:, ::-1])[:, ::-1]
    return np.pad(back, ((0, 0), (1, 0))) + np.pad(ahead, ((0, 0), (0, 1)))


def _runs(steps: ndarray) -> Int[ndarray, "H W"]:
    """How many steps in a row hold, up to and with each."""
    place = np.arange(1, steps.shape[1] + 1)
    return place - np.maximum.accumulate(np.where(steps, 0, place), axis=1)
