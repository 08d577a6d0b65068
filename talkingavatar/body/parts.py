"""What a body knows besides the arrays smplx reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

LIPS = ("lip_outer_upper", "lip_outer_lower", "lip_inner_upper", "lip_inner_lower")
MOUTH = ("teeth_upper", "teeth_lower", "tongue", "mouth_cavity")  # what is behind lips and cheeks
INSIDE = ("left_eye", "right_eye", *MOUTH)
REGION_NAMES = ("head", "left_hand", "right_hand", *INSIDE, *LIPS)


@dataclass(frozen=True)
class Parts:
    """Named parts of one mesh; regions that it lacks are empty."""

    expression_names: list[str]
    regions: dict[str, Int[np.ndarray, " _"]]
    landmarks: tuple[Int[np.ndarray, " 68"], Float[np.ndarray, "68 3"]] | None  # faces, barycentric
    uv: tuple[Float[np.ndarray, "T 2"], Int[np.ndarray, "F 3"]] | None
