"""The clock inside a frame's window of features: 16 steps at 50 Hz, their middle at the frame's time."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

STEPS, STEPS_PER_SECOND = 16, 50


def step_times(fps: float | int, frames: int, first_frame: int = 0) -> Float[ndarray, "T 16"]:
    """Seconds of each step of the windows of `frames` frames from `first_frame` on."""
    centre = np.arange(first_frame, first_frame + frames)[:, None] / fps
    return centre + (np.arange(STEPS) - (STEPS - 1) / 2) / STEPS_PER_SECOND
