"""Curves that motion is made of, at `RATE` steps a second."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d

RATE = 100  # steps per second


def smooth_noise(rng: np.random.Generator, steps: int, seconds: float) -> Float[ndarray, " T"]:
    """Noise of unit variance whose memory is about `seconds` long."""
    sigma = 0.4 * seconds * RATE
    pad = int(4 * sigma)
    noise = gaussian_filter1d(rng.standard_normal(steps + 2 * pad), sigma)[pad : pad + steps]
    return noise * np.sqrt(2 * np.sqrt(np.pi) * sigma)


def pulse(times: Float[ndarray, " T"], start: float, rise: float, hold: float, fall: float) -> Float[ndarray, " T"]:
    """0 to 1 to 0 with continuous speed: up from `start` in `rise` seconds, held, down in `fall`."""
    up = np.clip((times - start) / rise, 0, 1)
    down = np.clip((times - start - rise - hold) / fall, 0, 1)
    return up * up * (3 - 2 * up) - down * down * (3 - 2 * down)
