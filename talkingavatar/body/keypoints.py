"""The 135 keypoints and both irises of a posed body, without the thousands of vertices that are none of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from talkingavatar.body.body import Body
from talkingavatar.geometry.rotations import axis_angle_to_matrix
from talkingavatar.types import BodyPose

COUNT = 137  # the rows of `preprocessing.keypoints.Keypoints.points`, then the person's left and right iris
LEFT_IRIS, RIGHT_IRIS = 135, 136

# BODY_25 in order: a joint, the middle of two joints, or the place of a point in `Body.vertex_joints`. Neck and
# hip centre are the middle of shoulders and of hips, as detectors define them; SMPL-X's own joints lie elsewhere.
_SHOULDERS, _HIPS = ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")
_BODY_25: tuple[int | tuple[str, ...], ...] = (
    *(0, _SHOULDERS, ("right_shoulder",), ("right_elbow",), ("right_wrist",)),
    *(("left_shoulder",), ("left_elbow",), ("left_wrist",), _HIPS),
    *(("right_hip",), ("right_knee",), ("right_ankle",), ("left_hip",), ("left_knee",), ("left_ankle",)),
    *(1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
)
_HAND_FINGERS = ("thumb", "index", "middle", "ring", "pinky")  # of the 21 hand points, after the wrist
_FIRST_TIP = {"left": 11, "right": 16}  # in `Body.vertex_joints`, in the same order of fingers


@dataclass(frozen=True)
class Corners:
    """Points at rest that keypoints and joints are blends of, each carried by joints; the joints themselves first."""

    template: Float[Tensor, "U 3"]
    shapedirs: Float[Tensor, "S U 3"]
    expressiondirs: Float[Tensor, "E U 3"]
    posedirs: Float[Tensor, "P U 3"] | None  # None where all are zero
    weights: Float[Tensor, "U J"]  # skinning
    shares: Float[Tensor, "U _"]  # in the keypoints and, behind them, in the joints; each corner has one
    owned: Float[Tensor, "U 137"]  # 1 where a corner belongs to a keypoint


class KeypointBody(nn.Module):
    """What a detector sees of a body: points on few vertices and joints, posed by the same mathematics as the body.

    Rows follow the 135-point layout (methods F.3) and then the two irises. A body without limbs (FLAME) has its
    face only: `known` says which rows mean something, the others stay where the body is put.

    Raises:
        UserError: the model came without a landmark embedding.

    A keypoint is a blend of corners, each a vertex or a joint. Coordinates run before corners, so that blending
    joints over all corners of all frames is one product of matrices.
    """

    known: Bool[Tensor, " 137"]
    _shares: Float[Tensor, "U _"]  # of the corners in the keypoints and, behind them, in the joints
    _owned: Float[Tensor, "137 U"]  # 1 where a corner belongs to a keypoint; none belongs to two
    _template: Float[Tensor, "3 U"]
    _shapedirs: Float[Tensor, "S _"]
    _expressiondirs: Float[Tensor, "E _"]
    _weights: Float[Tensor, "J U"]
    _posedirs: Float[Tensor, "P _"] | None

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body = body
        corners = _corners(body)
        shares = torch.zeros(len(corners), COUNT + len(body.joint_names))
        for row, (point, _, _, share) in enumerate(corners):
            shares[row, point] = share
        vertex = torch.tensor([number if kind == "vertex" else -1 for _, kind, number, _ in corners])
        joint = torch.tensor([number if kind == "joint" else -1 for _, kind, number, _ in corners])

        def pick(of_vertices: Tensor, of_joints: Tensor) -> Tensor:
            held = (joint >= 0).reshape(-1, *[1] * (of_vertices.ndim - 1))
            return torch.where(held, of_joints[joint], of_vertices[vertex])

        joints, moves, faces = _joint_directions(body)
        directions = {"_shapedirs": pick(body.shapedirs, moves), "_expressiondirs": pick(body.expressiondirs, faces)}
        posedirs = None
        if body.posedirs is not None:
            columns = body.posedirs.unflatten(1, (-1, 3))[:, vertex] * (vertex >= 0)[:, None]
            posedirs = columns.transpose(1, 2).flatten(1)
        for name, value in {
            "known": shares[:, :COUNT].any(0),
            "_shares": shares,
            "_owned": (shares != 0)[:, :COUNT].float().T,
            "_template": pick(body.v_template, joints).T,
            "_weights": pick(body.weights, torch.eye(len(body.joint_names))).T,
            "_posedirs": posedirs,
            **{name: value.permute(2, 1, 0).flatten(1) for name, value in directions.items()},
        }.items():
            self.register_buffer(name, value if value is None else value.contiguous(), persistent=False)

    @property
    def corners(self) -> Corners:
        """What the points are made of, for who poses them by other means."""

        def rows(values: Tensor) -> Tensor:
            return values.unflatten(-1, (3, -1)).transpose(-1, -2)

        return Corners(
            self._template.T,
            rows(self._shapedirs),
            rows(self._expressiondirs),
            None if self._posedirs is None else rows(self._posedirs),
            self._weights.T,
            self._shares,
            self._owned.T,
        )

    def forward(
        self, pose: BodyPose, offsets: Float[Tensor, "137 3"] | None = None
    ) -> tuple[Float[Tensor, "B 137 3"], Float[Tensor, "B J 3"]]:
        """Posed keypoints and joints, metres.

        Args:
            offsets: from the body's own points to the detector's, metres in the rest pose; each turns with the
                part that its point is on.
        """
        rest = (pose.betas @ self._shapedirs + pose.expression @ self._expressiondirs).unflatten(1, (3, -1))
        rest = rest + self._template
        if offsets is not None:
            rest = rest + offsets.T @ self._owned
        if self._posedirs is not None:
            turned = axis_angle_to_matrix(pose.full_pose[:, 1:]) - torch.eye(3, device=rest.device)
            rest = rest + (turned.flatten(1) @ self._posedirs).unflatten(1, (3, -1))
        motion = self.body.joint_transforms(pose.betas, pose.full_pose, pose.expression)[:, :, :3].flatten(2)
        blended = (motion.transpose(1, 2) @ self._weights).unflatten(1, (3, 4))
        posed = (blended[:, :, :3] * rest[:, None]).sum(2) + blended[:, :, 3]
        points = (posed @ self._shares).transpose(1, 2) + pose.transl[:, None]
        return points[:, :COUNT], points[:, COUNT:]


def _joint_directions(body: Body) -> tuple[Float[Tensor, "J 3"], Float[Tensor, "J 3 S"], Float[Tensor, "J 3 E"]]:
    """Joints at rest and how they move with shape and expression."""
    regressor = body.J_regressor
    moves, faces = (torch.einsum("jv,vck->jck", regressor, d) for d in (body.shapedirs, body.expressiondirs))
    return regressor @ body.v_template, moves, faces


_Corner = tuple[int, str, int, float]  # keypoint, "vertex" or "joint", its number, share


def _corners(body: Body) -> list[_Corner]:
    """What makes up each keypoint the body has, and the joints after them."""
    names = {name: j for j, name in enumerate(body.joint_names)}
    corners: list[_Corner] = [(COUNT + joint, "joint", joint, 1.0) for joint in names.values()]
    if "pelvis" in names:
        for point, source in enumerate((*_BODY_25, *_hand("left"), *_hand("right"))):
            if not isinstance(source, int):
                corners += [(point, "joint", names[joint], 1 / len(source)) for joint in source]
            elif body.vertex_joints is not None:
                corners.append((point, "vertex", int(body.vertex_joints[source]), 1.0))
    body.landmarks(body.v_template[None])  # says so where the model came without
    assert body.landmark_faces is not None and body.landmark_bary is not None
    # Rows 67 to 117 are the inner face (17 to 67 of the 68), rows 118 to 134 the contour.
    for mark, (face, shares) in enumerate(zip(body.faces[body.landmark_faces], body.landmark_bary, strict=True)):
        point = 118 + mark if mark < 17 else 50 + mark
        row = zip(face.tolist(), shares.tolist(), strict=True)
        corners += [(point, "vertex", vertex, share) for vertex, share in row if share != 0]
    for point, eye in ((LEFT_IRIS, "left_eye"), (RIGHT_IRIS, "right_eye")):
        if len(ids := body.regions[eye]):
            # Looking ahead, the iris is foremost.
            corners.append((point, "vertex", int(ids[body.v_template[ids, 2].argmax()]), 1.0))
    return corners


def _hand(side: str) -> list[int | tuple[str, ...]]:
    """Wrist, then each finger's three joints and its tip."""
    sources: list[int | tuple[str, ...]] = [(f"{side}_wrist",)]
    for number, finger in enumerate(_HAND_FINGERS):
        sources += [(f"{side}_{finger}{k}",) for k in (1, 2, 3)]
        sources.append(_FIRST_TIP[side] + number)
    return sources
