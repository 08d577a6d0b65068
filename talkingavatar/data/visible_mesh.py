"""Which faces of a mesh a camera sees."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from talkingavatar.data.speaker import raster
from talkingavatar.types import Cameras


class VisibleMesh:
    """Faces before a camera; a plain surface to the renderer of the synthetic speaker."""

    def __init__(self, faces: Int[Tensor, "F 3"]) -> None:
        self._surface, self._atlas = raster.untextured(faces.numpy())
        self.faces = self._surface.faces

    def seen(
        self,
        vertices: Float[ndarray, "V 3"],
        K: Float[ndarray, "3 3"],
        viewmat: Float[ndarray, "4 4"],
        width: int,
        height: int,
    ) -> tuple[Int[ndarray, "H W"], Float[ndarray, "V 2"]]:
        """The face at each pixel (-1: none), and where each vertex lies, pixels."""
        screen = raster.project(vertices, K, viewmat, 1.0)
        ids, _ = raster.visible(screen, self._surface, self._atlas, width, height)
        return ids, screen[:, :2]

    def before(
        self, vertices: Float[Tensor, "V 3"], camera: Cameras
    ) -> tuple[Int[ndarray, "H W"], Float[ndarray, "V 2"]]:
        """`seen` by a camera (C = 1)."""
        K, view = camera.Ks[0].double().numpy(), camera.viewmats[0].double().numpy()
        return self.seen(vertices.numpy(), K, view, camera.width, camera.height)

    def outline(self, vertices: Float[Tensor, "V 3"], camera: Cameras) -> Float[Tensor, "H W"]:
        """1 where the mesh is before a camera (C = 1), 0 elsewhere."""
        return torch.from_numpy(self.before(vertices, camera)[0] >= 0).float()
