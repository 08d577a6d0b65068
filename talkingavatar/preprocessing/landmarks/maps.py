"""From MediaPipe's points to the 135-point layout.

Face: py-feat's table, `feat/utils/blendshape_to_au.py` (478 mesh points to the usual 68), but for contour and base of
the nose: py-feat's contour has the chin at number 10 instead of 8, which draws a fitted head 2 cm to the side, and its
nose the tip where the base belongs. Pose: by name; neck and mid-hip are means. Other tables differ in contour, brows
and nose: name the table beside a landmark distance.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

TABLE = "py-feat, contour and nose mended"
FACE68 = (
    127, 234, 132, 58, 172, 150, 149, 176, 152, 400, 378, 379, 397, 288, 361, 454, 356,  # contour
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows
    168, 6, 195, 4, 98, 97, 2, 326, 327,  # nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,  # outer mouth
    78, 82, 13, 312, 308, 317, 14, 87,  # inner mouth
)  # fmt: skip

# BODY_25 index -> the pose points whose mean it is. Small toes (20, 23) have none.
BODY_25: dict[int, tuple[int, ...]] = {
    0: (0,), 1: (11, 12), 2: (12,), 3: (14,), 4: (16,), 5: (11,), 6: (13,), 7: (15,), 8: (23, 24), 9: (24,),
    10: (26,), 11: (28,), 12: (23,), 13: (25,), 14: (27,), 15: (5,), 16: (2,), 17: (8,), 18: (7,), 19: (31,),
    21: (29,), 22: (32,), 24: (30,),
}  # fmt: skip

# Mesh points that are the centres of the person's left and right iris.
IRIS = (473, 468)


def body_25(pose: Float[ndarray, "T 33 3"]) -> Float[ndarray, "T 25 3"]:
    """BODY_25 from the 33 pose points: x, y, visibility; a mean is as visible as its least visible part."""
    points = np.full((len(pose), 25, 3), np.nan, np.float32)
    points[..., 2] = 0.0
    for index, sources in BODY_25.items():
        parts = pose[:, list(sources)]
        points[:, index, :2] = parts[..., :2].mean(axis=1)
        points[:, index, 2] = parts[..., 2].min(axis=1)
    return points
