"""The fitted body drawn over the clip, to look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray

from talkingavatar.body.body import Body
from talkingavatar.data.speaker import raster
from talkingavatar.data.speaker.renderer import incidence
from talkingavatar.data.visible_mesh import VisibleMesh
from talkingavatar.preprocessing.alignment.align import Alignment
from talkingavatar.preprocessing.alignment.observations import CONFIDENT
from talkingavatar.preprocessing.keypoints import Keypoints

OPAQUE = 0.55
DETECTED, FITTED = (255, 200, 0), (0, 230, 255)


def overlay_frames(
    frames: Iterable[UInt8[ndarray, "H W 3"]], alignment: Alignment, keypoints: Keypoints, body: Body
) -> Iterator[UInt8[ndarray, "H W 3"]]:
    """Each frame under a half transparent body, with detected (yellow) and fitted (blue) keypoints."""
    painter = _Painter(body)
    K, viewmat = alignment.K.double().numpy(), alignment.viewmat.double().numpy()
    for i, frame in enumerate(frames):
        with torch.no_grad():
            vertices, _ = body(alignment.pose[[i]])
        picture = painter.paint(frame, vertices[0].numpy(), K, viewmat)
        points = np.concatenate([keypoints.points[i], keypoints.iris[i]])
        size = max(1, max(frame.shape) // 640)
        seen = points[:, 2] > CONFIDENT
        _dots(picture, points[seen, :2], DETECTED, size)
        _dots(picture, alignment.keypoints[i].numpy()[seen], FITTED, size)
        yield picture


class _Painter:
    """Draws one mesh in grey, lit from the camera."""

    def __init__(self, body: Body) -> None:
        self.mesh = VisibleMesh(body.faces)
        self.first, self.incident = incidence(self.mesh.faces, len(body.v_template))

    def paint(
        self,
        frame: UInt8[ndarray, "H W 3"],
        vertices: Float[ndarray, "V 3"],
        K: Float[ndarray, "3 3"],
        viewmat: Float[ndarray, "4 4"],
    ) -> UInt8[ndarray, "H W 3"]:
        height, width = frame.shape[:2]
        ids, _ = self.mesh.seen(vertices, K, viewmat, width, height)
        normals = raster.vertex_normals(vertices, self.mesh.faces, self.first, self.incident)
        facing = np.abs(normals[self.mesh.faces].mean(1) @ viewmat[2, :3])
        shade = (60 + 180 * facing)[:, None] * np.array([1.0, 0.85, 0.75])
        picture, covered = frame.copy(), ids >= 0
        mixed = (1 - OPAQUE) * frame[covered] + OPAQUE * shade[ids[covered]]
        picture[covered] = mixed.clip(0, 255).astype(np.uint8)
        return picture


def _dots(
    picture: UInt8[ndarray, "H W 3"], points: Float[ndarray, "n 2"], colour: tuple[int, int, int], size: int
) -> None:
    height, width = picture.shape[:2]
    for x, y in points.astype(int):
        if 0 <= x < width and 0 <= y < height:
            picture[max(0, y - size + 1) : y + size, max(0, x - size + 1) : x + size] = colour
