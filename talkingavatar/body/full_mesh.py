"""The whole MakeHuman mesh of the open rig with its helper geometry: what a speaker is dressed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from talkingavatar.body.open_rig import ensure_open_rig


@dataclass(frozen=True)
class FullMesh:
    """19,158 vertices in the open rig's T-pose and frame, driven by the same betas, expression and 55 joints.

    Groups: `body`, `helper-tights`, `helper-skirt`, `helper-hair`, `helper-{l,r}-eye`, `helper-tongue`,
    `helper-{l,r}-eyelashes-{1,2}`, `helper-{upper,lower}-teeth`. Vertices of no face (joint cubes) are
    kept, so that MakeHuman's own vertex numbers hold.
    """

    vertices: Float[np.ndarray, "V 3"]  # metres
    faces: Int[np.ndarray, "F 3"]
    face_group: Int[np.ndarray, " F"]  # into `group_names`
    group_names: list[str]
    weights: Float[np.ndarray, "V 55"]  # SMPL-X joints
    shapedirs: Float[np.ndarray, "V 3 S"]
    expressiondirs: Float[np.ndarray, "V 3 E"]
    uv: Float[np.ndarray, "T 2"]
    faces_uv: Int[np.ndarray, "F 3"]
    body_to_full: Int[np.ndarray, " B"]  # full vertex of each vertex of the SMPL-X file

    def group_faces(self, *names: str) -> Int[np.ndarray, "G 3"]:
        """Faces of the named groups."""
        return self.faces[np.isin(self.face_group, [self.group_names.index(n) for n in names])]


def load_full_mesh() -> FullMesh:
    """Read it from the open rig's folder, building the rig first if need be."""
    with np.load(ensure_open_rig() / "open_rig.npz") as file:
        return FullMesh(
            file["full_vertices"],
            file["full_faces"],
            file["full_face_group"],
            file["full_group_names"].tolist(),
            file["full_weights"],
            file["full_shapedirs"],
            file["full_expressiondirs"],
            file["uv"],
            file["full_faces_uv"],
            file["body_to_full"],
        )
