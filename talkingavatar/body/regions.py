"""Parts of the open rig's body as sets of vertices."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from talkingavatar.body import landmarks
from talkingavatar.body.base_faces import BodyFaces
from talkingavatar.body.makehuman import BaseMesh, data_folder
from talkingavatar.body.tpose import FLAME_JOINTS, JOINT_NAMES

_GROUPS = {
    "left_eye": "helper-l-eye",
    "right_eye": "helper-r-eye",
    "tongue": "helper-tongue",
    "teeth_upper": "helper-upper-teeth",
    "teeth_lower": "helper-lower-teeth",
}
_MOUTH_CAVITY_COLOUR = (112, 172, 255)  # in the segmentation picture that comes with the mesh


def find_regions(
    mesh: BaseMesh, faces: BodyFaces, weights: Float[np.ndarray, "V 55"]
) -> dict[str, Int[np.ndarray, " _"]]:
    """Sorted vertex numbers by region; the lip rings are ordered from the right corner to the left one.

    `flame` is what the FLAME file holds: all that hangs on neck, head, jaw and eyes by more than half (the
    fallback of methods H.3); `head` is the same without the teeth.
    """
    regions = {name: np.sort(faces.local(np.unique(mesh.quads[group]))) for name, group in _GROUPS.items()}
    body_weights = weights[faces.vertex_ids]

    def held_by(joints: list[str]) -> Int[np.ndarray, " n"]:
        return np.flatnonzero(body_weights[:, [JOINT_NAMES.index(j) for j in joints]].sum(1) > 0.5)

    for side in ("left", "right"):
        fingers = [j for j in JOINT_NAMES[25:] if j.startswith(side)]
        regions[f"{side}_hand"] = held_by([f"{side}_wrist", *fingers])
    regions["flame"] = held_by(list(FLAME_JOINTS))
    teeth = np.concatenate([regions["teeth_upper"], regions["teeth_lower"]])
    regions["head"] = np.setdiff1d(regions["flame"], teeth)
    regions["mouth_cavity"] = _mouth_cavity(mesh, faces)
    return regions | landmarks.lip_rings(faces)


def _mouth_cavity(mesh: BaseMesh, faces: BodyFaces) -> Int[np.ndarray, " n"]:
    picture = np.asarray(Image.open(data_folder() / "segmentation/body_parts_segmentation.png").convert("RGB"))
    height, width = picture.shape[:2]
    u, v = mesh.uv[faces.triangles_uv].mean(1).T
    column = np.minimum((u * width).round().astype(int), width - 1)
    row = np.minimum(((1 - v) * height).round().astype(int), height - 1)
    inside = (picture[row, column] == _MOUTH_CAVITY_COLOUR).all(1)
    body = faces.local(np.unique(mesh.quads["helper-tongue"]))
    return np.setdiff1d(np.unique(faces.triangles[inside]), body)
