"""The synthetic speaker before the camera: pose and expression in, a picture and its matte out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Int, UInt8

from talkingavatar.body.full_mesh import load_full_mesh
from talkingavatar.body.open_rig import ensure_open_rig
from talkingavatar.data.speaker import raster
from talkingavatar.data.speaker.detail import Detail, build_detail
from talkingavatar.data.speaker.dressed_mesh import build_figure, sculpt
from talkingavatar.data.speaker.face import read_face
from talkingavatar.data.speaker.identity import person
from talkingavatar.data.speaker.light import ambient
from talkingavatar.data.speaker.renderer import Renderer

Expression = Mapping[str, float] | Float[np.ndarray, " E"]
FRAMINGS = {"body": 1.10, "head": 0.44}  # metres of the person that a picture shows
_INFLUENCES = 8  # joints per vertex at most


class Skeleton(NamedTuple):
    """Joints of the shaped body and what their regression needs."""

    parents: Int[np.ndarray, "55"]
    regressor: Float[np.ndarray, "55 B"]


def joint_transforms(
    pose: Float[np.ndarray, "55 3"], joints: Float[np.ndarray, "55 3"], parents: Int[np.ndarray, "55"]
) -> Float[np.ndarray, "55 3 4"]:
    """From the T-pose to the posed body, along the kinematic tree (as smplx.lbs.batch_rigid_transform)."""
    rotation = _rodrigues(pose)
    world = np.zeros((55, 3, 4))
    for j, parent in enumerate(parents):
        if parent < 0:
            world[j] = np.concatenate([rotation[j], joints[j][:, None]], 1)
            continue
        world[j, :, :3] = world[parent, :, :3] @ rotation[j]
        world[j, :, 3] = world[parent, :, :3] @ (joints[j] - joints[parent]) + world[parent, :, 3]
    world[:, :, 3] -= np.einsum("jab,jb->ja", world[:, :, :3], joints)
    return world


def _rodrigues(rotvec: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3 3"]:
    angle = np.linalg.norm(rotvec, axis=-1)[:, None, None]
    axis = rotvec / np.maximum(angle[..., 0], 1e-12)
    K = np.zeros((len(rotvec), 3, 3))
    K[:, 0, 1], K[:, 0, 2], K[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    K -= K.transpose(0, 2, 1)
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * (K @ K)


@raster.kernel
@no_type_check
def _skin(rest, bones, weights, transforms, transl):  # noqa: ANN001, ANN202 - types come from the call
    """Linear blend skinning: vertices (V, 3) float32 in world space."""
    out = np.empty((len(rest), 3), np.float32)
    for v in range(len(rest)):
        x = y = z = 0.0
        for k in range(bones.shape[1]):
            w = weights[v, k]
            if w == 0:
                break
            t = transforms[bones[v, k]]
            x += w * (t[0, 0] * rest[v, 0] + t[0, 1] * rest[v, 1] + t[0, 2] * rest[v, 2] + t[0, 3])
            y += w * (t[1, 0] * rest[v, 0] + t[1, 1] * rest[v, 1] + t[1, 2] * rest[v, 2] + t[1, 3])
            z += w * (t[2, 0] * rest[v, 0] + t[2, 1] * rest[v, 1] + t[2, 2] * rest[v, 2] + t[2, 3])
        out[v, 0], out[v, 1], out[v, 2] = x + transl[0], y + transl[1], z + transl[2]
    return out


class SpeakerScene:
    """One synthetic person in front of a static camera on white.

    Args:
        identity: who, as `identity.person` takes it.
        width, height: of the pictures, pixels; the framing is made for square ones.
        framing: one of `FRAMINGS`: "body", head to hips with room for both hands; "head", head and shoulders.
        cloth: what they wear, the same.
    """

    def __init__(self, identity: int, width: int, height: int, framing: str = "body", cloth: str = "own") -> None:
        self.tall = FRAMINGS[framing]
        self.who = person(identity, cloth)
        self.width, self.height = width, height
        self.full = load_full_mesh()
        folder = ensure_open_rig()
        with np.load(folder / "open_rig.npz") as rig, np.load(folder / "SMPLX_NEUTRAL.npz") as body:
            self.expression_names: list[str] = rig["expression_names"].tolist()
            parents = body["kintree_table"][0].astype(np.int64)
            parents[0] = -1
            self.skeleton = Skeleton(parents, body["J_regressor"].astype(np.float64))
        eyes = self.full.faces[self.full.face_group == self.full.group_names.index("helper-l-eye")]
        self.face = read_face(self.full.vertices, self.full.vertices[np.unique(eyes)].mean(0))
        self.betas = np.array(self.who.betas, np.float64)
        shaped = self.full.vertices + self.full.shapedirs @ self.betas
        self.joints = self.skeleton.regressor @ shaped[self.full.body_to_full]
        resting = self.full.expressiondirs @ self.coefficients(self.who.rest)
        self.shaped = shaped + resting + sculpt(self.full, self.face, self.who)  # of `full`, before it is dressed
        self.figure = build_figure(self.full, self.face, self.who, self.shaped)
        places = self.figure.head_texels.position[::2, ::2]
        self.detail: Detail = build_detail(self.full, self.face, self.who, self.expression_names, places)
        self._bind()
        focus = (0.0, float(self.joints[12, 1]) - 0.33, 0.05)
        self.renderer = Renderer(
            self.figure.mesh, self.figure.materials, focus=focus, radius=0.85, overlay=self.detail.overlay
        )
        self.shade = np.maximum(ambient(self.renderer, self.figure.rest), self.figure.shade_floor)

    def _bind(self) -> None:
        """Skinning weights and expression offsets of the figure's vertices, from their sources."""
        a, b = self.figure.sources.T
        weights = 0.5 * (self.full.weights[a] + self.full.weights[b])
        order = np.argsort(-weights, axis=1, kind="stable")[:, :_INFLUENCES]
        weights = np.take_along_axis(weights, order, 1)
        self._bones = order.astype(np.int32)
        self._weights = (weights / weights.sum(1, keepdims=True)).astype(np.float64)
        basis = np.concatenate([self.full.expressiondirs, self.detail.directions], 2)
        offsets = 0.5 * (basis[a] + basis[b])
        self._moved = np.flatnonzero(np.abs(offsets).max((1, 2)) > 1e-6)
        self._offsets = offsets[self._moved].astype(np.float64)

    def coefficients(self, expression: Expression) -> Float[np.ndarray, " E"]:
        """Facial actions in the rig's order."""
        if not isinstance(expression, Mapping):
            return np.asarray(expression, np.float64)[: len(self.expression_names)]
        out = np.zeros(len(self.expression_names))
        for name, value in expression.items():
            out[self.expression_names.index(name)] = value
        return out

    def vertices(
        self, full_pose: Float[np.ndarray, "55 3"], transl: Float[np.ndarray, "3"], expression: Expression
    ) -> Float[np.ndarray, "V 3"]:
        """All vertices of the figure in world space, metres."""
        coefficients = self.coefficients(expression)
        every = np.concatenate([coefficients, self.detail.activations(coefficients)])
        rest = self.figure.rest.copy()
        rest[self._moved] += self._offsets @ every
        transforms = joint_transforms(np.asarray(full_pose, np.float64), self.joints, self.skeleton.parents)
        return _skin(rest, self._bones, self._weights, transforms, np.asarray(transl, np.float64))

    def render(
        self,
        full_pose: Float[np.ndarray, "55 3"],
        transl: Float[np.ndarray, "3"],
        expression: Expression,
        camera: tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "4 4"]] | None = None,
    ) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
        """The picture on white and its matte.

        Args:
            full_pose: axis-angle of the 55 SMPL-X joints, radians.
            transl: metres.
            expression: facial actions by name, or all in the order of `expression_names`.
            camera: K and viewmat; the frontal one if not given.
        """
        K, viewmat = self.camera() if camera is None else camera
        weights = self.detail.overlay_weights(self.coefficients(expression))
        vertices = self.vertices(full_pose, transl, expression)
        return self.renderer.render(vertices, K, viewmat, self.width, self.height, self.shade, weights)

    def visible_faces(
        self,
        full_pose: Float[np.ndarray, "55 3"],
        transl: Float[np.ndarray, "3"],
        expression: Expression,
        camera: tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "4 4"]],
    ) -> Int[np.ndarray, " n"]:
        """Rows of `figure.mesh.faces` that a camera sees; `figure.mesh.material` tells their parts."""
        vertices = self.vertices(full_pose, transl, expression)
        return self.renderer.visible_faces(vertices, *camera, self.width, self.height)

    def camera(self) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "4 4"]]:
        """K and viewmat of the static frontal view."""
        return self.side_camera(0.0)

    def side_camera(self, degrees: float) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "4 4"]]:
        """The frontal camera swung about the person, to their left for positive angles."""
        distance, tall = 2.9, self.tall
        middle = np.array([0.0, self._top - 0.5 * tall + 0.035, 0.03])
        focal = distance / tall * self.height
        K = np.array([[focal, 0, 0.5 * self.width], [0, focal, 0.5 * self.height], [0, 0, 1]])
        angle = np.radians(degrees)
        back = np.array([np.sin(angle), 0.0, np.cos(angle)])
        right = np.array([np.cos(angle), 0.0, -np.sin(angle)])
        viewmat = np.eye(4)
        viewmat[:3, :3] = np.stack([right, [0.0, -1.0, 0.0], -back])
        viewmat[:3, 3] = -viewmat[:3, :3] @ (middle + distance * back)
        return K, viewmat

    @cached_property
    def _top(self) -> float:
        """Height of the crown in the T-pose, hair included."""
        return float(self.figure.rest[:, 1].max())
