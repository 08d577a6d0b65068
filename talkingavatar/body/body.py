"""One differentiable body for all models: the open rig, SMPL-X and FLAME."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import smplx
import torch
from jaxtyping import Bool, Float, Int
from smplx.joint_names import JOINT_NAMES
from torch import Tensor, nn

from talkingavatar.body.parts import Parts
from talkingavatar.body.tpose import FLAME_JOINTS
from talkingavatar.errors import UserError
from talkingavatar.geometry.rotations import axis_angle_to_matrix
from talkingavatar.types import BodyPose

FACE_MOVES = 1e-3  # metres that some expression, at 1, moves the vertices of the face at least


@dataclass(frozen=True)
class Identity:
    """Which model this is: goes into every run, and a checkpoint made with another is refused."""

    name: str
    version: str
    checksum: str  # SHA-256 of a licensed file; of the open rig, of its rounded numbers


class Body(nn.Module):
    """A template with shape, expression and pose, skinned to joints; the same mathematics as smplx's.

    Rest pose is the T-pose, y up, facing +z, metres. All tensors are buffers, none is trained.
    """

    v_template: Float[Tensor, "V 3"]
    faces: Int[Tensor, "F 3"]
    shapedirs: Float[Tensor, "V 3 S"]
    expressiondirs: Float[Tensor, "V 3 E"]
    posedirs: Float[Tensor, "P _"] | None  # None where all are zero
    weights: Float[Tensor, "V J"]  # skinning
    J_regressor: Float[Tensor, "J V"]
    landmark_faces: Int[Tensor, " 68"] | None
    landmark_bary: Float[Tensor, "68 3"] | None
    vertex_joints: Int[Tensor, " 21"] | None  # of SMPL-X: nose, eyes, ears, feet, finger tips
    uv: Float[Tensor, "T 2"] | None
    _joint_template: Float[Tensor, "J 3"]
    _joint_shapedirs: Float[Tensor, "J 3 S"]
    _joint_expressiondirs: Float[Tensor, "J 3 E"]
    _order: Int[Tensor, " J"]
    _inverse_order: Int[Tensor, " J"]
    _parent_index: Int[Tensor, " J"]
    _last_row: Float[Tensor, " 4"]
    faces_uv: Int[Tensor, "F 3"] | None
    face: Bool[Tensor, " V"]  # the vertices that some expression moves by a millimetre or more

    def __init__(self, model: smplx.SMPLX | smplx.FLAME, parts: Parts, identity: Identity) -> None:
        super().__init__()
        self.name, self.version, self.checksum = identity.name, identity.version, identity.checksum
        self.joint_names: tuple[str, ...] = tuple(JOINT_NAMES[:55]) if len(model.parents) == 55 else FLAME_JOINTS
        self.parents: tuple[int, ...] = tuple(model.parents.tolist())
        self.expression_names = parts.expression_names[: model.expr_dirs.shape[2]]
        posed = bool(model.posedirs.any())
        marks, uv = parts.landmarks, parts.uv
        picked = model.vertex_joint_selector.extra_joints_idxs
        for name, value in {
            "v_template": model.v_template,
            "faces": model.faces_tensor,
            "shapedirs": model.shapedirs,
            "expressiondirs": model.expr_dirs[..., : len(self.expression_names)],
            "posedirs": model.posedirs if posed else None,
            "weights": model.lbs_weights,
            "J_regressor": model.J_regressor,
            "landmark_faces": None if marks is None else torch.as_tensor(marks[0]).long(),
            "landmark_bary": None if marks is None else torch.as_tensor(marks[1]).float(),
            "vertex_joints": picked if len(picked) else None,
            "uv": None if uv is None else torch.as_tensor(uv[0]).float(),
            "faces_uv": None if uv is None else torch.as_tensor(uv[1]).long(),
        }.items():
            self.register_buffer(name, None if value is None else value.detach().clone(), persistent=False)
        moves = self.expressiondirs.square().sum(1).amax(1).sqrt()
        self.register_buffer("face", moves > FACE_MOVES, persistent=False)
        self._region_names = tuple(parts.regions)
        for name, ids in parts.regions.items():
            self.register_buffer(f"region_{name}", torch.as_tensor(ids).long(), persistent=False)
        self._precompute_joints()

    def _precompute_joints(self) -> None:
        """Joints are linear in shape and expression: the directions are regressed once, not the vertices."""
        regressor = self.J_regressor
        for name, directions in (("shape", self.shapedirs), ("expression", self.expressiondirs)):
            moved = torch.einsum("jv,vck->jck", regressor, directions)
            self.register_buffer(f"_joint_{name}dirs", moved, persistent=False)
        self.register_buffer("_joint_template", regressor @ self.v_template, persistent=False)
        self.register_buffer("_parent_index", torch.tensor([max(p, 0) for p in self.parents]), persistent=False)
        self.register_buffer("_last_row", torch.tensor([0.0, 0.0, 0.0, 1.0]), persistent=False)
        # The chain is composed one level of the tree at a time; a joint's parent stands one level above.
        levels = [[0]]
        while below := [j for j, p in enumerate(self.parents) if p in levels[-1]]:
            levels.append(below)
        order = torch.tensor([j for level in levels for j in level])
        self.register_buffer("_order", order, persistent=False)
        self.register_buffer("_inverse_order", order.argsort(), persistent=False)
        self._level_sizes = [len(level) for level in levels]
        for depth, (above, level) in enumerate(pairwise(levels), start=1):
            place = torch.tensor([above.index(self.parents[j]) for j in level])
            self.register_buffer(f"_parents_at_{depth}", place, persistent=False)

    @property
    def regions(self) -> dict[str, Int[Tensor, " _"]]:
        """Vertex numbers by name of the part (see `parts.REGION_NAMES`), empty where the model lacks it.

        The lip rings run from the person's right corner of the mouth to the left one.
        """
        return {name: getattr(self, f"region_{name}") for name in self._region_names}

    @property
    def device(self) -> torch.device:
        return self.v_template.device

    def zero_pose(self, batch: int = 1) -> BodyPose:
        """The T-pose of the mean shape, without expression, at the origin."""
        sizes = (self.shapedirs.shape[2], self.expressiondirs.shape[2])
        betas, expression = (self.v_template.new_zeros(batch, n) for n in sizes)
        pose = self.v_template.new_zeros(batch, len(self.parents), 3)
        return BodyPose(betas, expression, pose, self.v_template.new_zeros(batch, 3))

    def rest_joints(
        self, betas: Float[Tensor, "B S"], expression: Float[Tensor, "B E"] | None = None
    ) -> Float[Tensor, "B J 3"]:
        """Joints of the shaped T-pose body. Licensed models move them slightly with the expression too."""
        joints = self._joint_template + torch.einsum("bs,jcs->bjc", betas, self._joint_shapedirs)
        if expression is not None:
            joints = joints + torch.einsum("be,jce->bjc", expression, self._joint_expressiondirs)
        return joints

    def joint_transforms(
        self,
        betas: Float[Tensor, "B S"],
        full_pose: Float[Tensor, "B J 3"],
        expression: Float[Tensor, "B E"] | None = None,
    ) -> Float[Tensor, "B J 4 4"]:
        """Rigid motion of each joint from its rest pose, A_p = G_p(theta) G_p(rest)^-1 (methods A.4)."""
        joints = self.rest_joints(betas, expression)
        return self._relative(self._chain(joints, axis_angle_to_matrix(full_pose)), joints)

    def _chain(self, joints: Float[Tensor, "B J 3"], rotations: Float[Tensor, "B J 3 3"]) -> Float[Tensor, "B J 4 4"]:
        """Global rotation and position of each joint, as matrices."""
        offsets = joints - joints[:, self._parent_index]
        offsets = torch.cat([joints[:, :1], offsets[:, 1:]], 1)  # the root has no parent
        local = self._homogeneous(rotations, offsets)[:, self._order].split(self._level_sizes, 1)
        world = [local[0]]
        for depth, child in enumerate(local[1:], start=1):
            world.append(world[-1][:, getattr(self, f"_parents_at_{depth}")] @ child)
        return torch.cat(world, 1)[:, self._inverse_order]

    def _relative(self, world: Float[Tensor, "B J 4 4"], joints: Float[Tensor, "B J 3"]) -> Float[Tensor, "B J 4 4"]:
        rotations, positions = world[..., :3, :3], world[..., :3, 3]
        return self._homogeneous(rotations, positions - (rotations @ joints[..., None])[..., 0])

    def _homogeneous(
        self, rotations: Float[Tensor, "B J 3 3"], positions: Float[Tensor, "B J 3"]
    ) -> Float[Tensor, "B J 4 4"]:
        upper = torch.cat([rotations, positions[..., None]], -1)
        return torch.cat([upper, self._last_row.expand(*upper.shape[:2], 1, 4)], -2)

    def forward(
        self,
        pose: BodyPose,
        vertices: Int[Tensor, " n"] | None = None,
        offsets: Float[Tensor, "_ 3"] | None = None,
    ) -> tuple[Float[Tensor, "B _ 3"], Float[Tensor, "B J 3"]]:
        """Posed vertices and joints, metres; equal to smplx's own.

        Args:
            vertices: numbers of those wanted, at their cost alone; None for all.
            offsets: to points beside these vertices, metres in the rest pose; each turns with its vertex.
        """
        part = slice(None) if vertices is None else vertices
        shaped = (
            self.v_template[part]
            + torch.einsum("bs,vcs->bvc", pose.betas, self.shapedirs[part])
            + torch.einsum("be,vce->bvc", pose.expression, self.expressiondirs[part])
        )
        if offsets is not None:
            shaped = shaped + offsets
        joints = self.rest_joints(pose.betas, pose.expression)
        rotations = axis_angle_to_matrix(pose.full_pose)
        if self.posedirs is not None:
            shaped = shaped + self._correct(rotations, part)
        world = self._chain(joints, rotations)
        motion = self._relative(world, joints)[:, :, :3].reshape(len(pose), -1, 12)
        blended = (self.weights[part] @ motion).reshape(len(pose), -1, 3, 4)
        posed = (blended[..., :3] @ shaped[..., None])[..., 0] + blended[..., 3]
        transl = pose.transl[:, None]
        return posed + transl, world[..., :3, 3] + transl

    def pose_offsets(self, full_pose: Float[Tensor, "B J 3"]) -> Float[Tensor, "B V 3"]:
        """Pose-corrective offsets B_P(theta) in metres; a model without them (`posedirs` None) has none to give."""
        return self._correct(axis_angle_to_matrix(full_pose))

    def _correct(
        self, rotations: Float[Tensor, "B J 3 3"], part: slice | Int[Tensor, " n"] = slice(None)
    ) -> Float[Tensor, "B _ 3"]:
        feature = (rotations[:, 1:] - torch.eye(3, device=self.device)).flatten(1)
        assert self.posedirs is not None
        directions = self.posedirs
        if not isinstance(part, slice):  # rows of `posedirs` hold all coordinates of all vertices
            directions = directions.unflatten(1, (-1, 3))[:, part].flatten(1)
        return (feature @ directions).unflatten(1, (-1, 3))

    def landmarks(self, vertices: Float[Tensor, "B V 3"]) -> Float[Tensor, "B 68 3"]:
        """The 68 face landmarks in iBUG order, on the surface of the given vertices.

        Raises:
            UserError: the model came without a landmark embedding.
        """
        return self.at_landmarks(vertices[:, self.landmark_corners])

    def posed_landmarks(self, pose: BodyPose) -> Float[Tensor, "B 68 3"]:
        """The same of a pose, at their cost alone."""
        return self.at_landmarks(self(pose, self.landmark_corners.flatten())[0].unflatten(1, (-1, 3)))

    def at_landmarks(self, values: Float[Tensor, "B 68 3 *n"]) -> Float[Tensor, "B 68 *n"]:
        """What lies at the landmarks, of what the corners of their triangles have."""
        return torch.einsum("blc...,lc->bl...", values, self.landmark_bary)

    @property
    def landmark_corners(self) -> Int[Tensor, "68 3"]:
        """Vertices round each landmark.

        Raises:
            UserError: the model came without a landmark embedding.
        """
        if self.landmark_faces is None or self.landmark_bary is None:
            raise UserError(
                "body.path",
                f"a {self.name} model without landmarks",
                "landmark_embedding.npy, or flame_static_embedding.pkl with flame_dynamic_embedding.npy",
                "put the FLAME landmark embedding into the model's folder",
            )
        return self.faces[self.landmark_faces]
