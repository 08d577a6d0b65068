"""Gaussians in the local frames of a mesh's triangles, as in GaussianAvatars (CVPR 2024); methods B.2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from talkingavatar.body.bust import Figure
from talkingavatar.config.family_options import TriangleBound as Options
from talkingavatar.errors import UserError
from talkingavatar.geometry.rotations import matrix_to_quat, orthonormalise, quat_multiply
from talkingavatar.geometry.spherical_harmonics import rgb_to_sh
from talkingavatar.losses import beyond_position, beyond_scale
from talkingavatar.methods.baking import Skinned, baked_skeleton, posedirs_of, sparse_weights
from talkingavatar.methods.colours import completed, first_look, seen_colours
from talkingavatar.methods.context import MethodContext
from talkingavatar.methods.dressing import dress, dressed
from talkingavatar.methods.skin_bound import SkinBound
from talkingavatar.networks.baked import Grid, Resting, Skeleton, Weights
from talkingavatar.networks.footing import Footing
from talkingavatar.networks.placing import Local, Offsets, place, triangle_maps
from talkingavatar.networks.pose_refinement import PoseRefinement
from talkingavatar.types import Batch, BodyPose, DrivingSignal, Gaussians, Rendering

# The local frame's second axis is the normal; a surfel's is its third.
UPRIGHT = (math.sqrt(0.5), -math.sqrt(0.5), 0.0, 0.0)
FLAT = 0.25  # of what a Gaussian on the skin may measure along it: what it may across it, and starts with
LOCAL_SCALE = 25.0  # gsplat's scene scale for local units: a Gaussian is split above, cloned below a quarter triangle


class TriangleBound(SkinBound):
    """One Gaussian a triangle at the start; clones and children of a split inherit the triangle.

    Means, quaternions and scales are raw and local: world = k R mu + T, R q, k s (methods B.2.1). Because a split is
    drawn in local units, children of a large triangle are not thrown far, as they are in the published code.
    """

    cover = 0.33  # there are twice as many triangles as vertices

    carried_binding: Tensor
    betas: Tensor
    resting_maps: Tensor

    def __init__(self, context: MethodContext, options: Options, skin: bool = False, behind: float = 0.0) -> None:
        """`skin`: Gaussians start on the person as seen and go with the skin, else each rides on its triangle."""
        super().__init__(context)
        self.bound_options = options
        self.figure = Figure(self.body, context.pose[context.train_frames])
        faces = self.figure.faces
        self.register_buffer("carried_binding", torch.arange(len(faces)))
        self.register_buffer("carried_parent", faces[:, 0].clone())
        # What a person is like is the avatar's: whoever drives it gives motion.
        self.register_buffer("betas", context.pose.betas[:1], persistent=False)
        resting = self.figure.resting(self.betas[0])
        self.register_buffer("resting_maps", triangle_maps(resting, faces))
        self.gaussians = self._initial_gaussians(skin)
        self.refinement = PoseRefinement(len(context.train_frames), context.pose)
        if skin:
            self.stand_on(resting, resting, faces, self.carried_binding.clone(), behind)

    @torch.no_grad()
    def begin(self) -> None:
        faces, resting = self.figure.faces, self.figure.resting(self.betas[0])
        batch, meshes = first_look(self.context, self.figure)
        if self.surface is not None:
            worn = dressed(batch, meshes, faces, self.body)
            meshes = [dress(mesh, faces, worn) for mesh in meshes]
            seen = dress(resting, faces, worn)
            self.resting_maps = triangle_maps(seen, faces)
            self.lie(self.surface, seen)
        colours = completed(*seen_colours(batch, meshes, faces), resting, self.parts())
        self.gaussians["sh"][:, 0] = rgb_to_sh(colours[faces].mean(1))

    # -- what the base asks for ----------------------------------------------------------------------------------------

    @property
    def carried(self) -> dict[str, Int[Tensor, " N"]]:
        return super().carried | {"binding": self.carried_binding}

    @property
    def numbered(self) -> dict[str, int]:
        return super().numbered | {"parent": len(self.figure.weights), "binding": len(self.figure.faces)}

    def carry(self, carried: dict[str, Int[Tensor, " N"]]) -> None:
        super().carry(carried)
        self.carried_binding = carried["binding"]

    def resting(self, some: slice = slice(None)) -> Local:
        return self.at_rest(dict(self.gaussians), some)

    def at_rest(self, raw: Mapping[str, Tensor], some: slice = slice(None)) -> Local:
        """Local Gaussians where nothing moves."""
        local = Local(raw["means"][some], raw["quats"][some], raw["scales"][some].exp())
        return Local(*place(local, self.resting_maps, self.carried_binding[some], scaled=True))

    def density_details(self) -> dict[str, Any]:
        """No triangle is left without a Gaussian: it could never get one back."""
        return {"keep": "binding", "scene_scale": LOCAL_SCALE}

    def beside(
        self, pose: BodyPose, vertices: Int[Tensor, " n"], offsets: Float[Tensor, "n 3"]
    ) -> Float[Tensor, "n 3"]:
        resting = self.figure.resting(self.betas[0]) + self._expressed(pose)
        maps = (self.figure.weights[vertices] @ self.figure.transforms(pose).flatten(1)).unflatten(1, (3, 4))
        return (maps[..., :3] @ (resting[vertices] + offsets)[..., None])[..., 0] + maps[..., 3]

    def vertices_of(self) -> Int[Tensor, " N"]:
        return torch.where(self.carried_parent < len(self.body.v_template), self.carried_parent, -1)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {
            "pose": [self.refinement.full_pose, self.refinement.transl],
            "expression": [self.refinement.expression],
            "shoulders": [self.figure.follow],
        }

    def terms(self, drawn: dict[str, Rendering], batch: Batch) -> dict[str, Float[Tensor, "..."]]:
        terms = super().terms(drawn, batch)
        if self.surface is None:
            raw, options = self.gaussians, self.bound_options
            terms["position"] = beyond_position(raw["means"], options.most_position)
            terms["scale"] = beyond_scale(raw["scales"].exp(), options.most_scale)
        return terms

    def beyond_width(self, scales: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return beyond_scale(torch.cat([scales[:, :2], scales[:, 2:] / FLAT], 1), self.bound_options.most_scale)

    def refined_pose(self, signal: DrivingSignal) -> BodyPose:
        """Tracked parameters with what has been learned about this frame; frames never trained on stay as tracked."""
        row, pose = self.frame_row(signal), replace(signal.pose, betas=self.betas.expand(len(signal), -1))
        return pose if row < 0 else self.refinement(pose, row)

    def parts(self) -> dict[str, Bool[Tensor, " W"]]:
        """Those of the body; the bust is of its trunk."""
        bust = len(self.figure.bust)
        return {
            name: torch.cat([here, here.new_full((bust,), name == "body")]) for name, here in super().parts().items()
        }

    # -- baking --------------------------------------------------------------------------------------------------------

    def at_its_rest(self) -> Resting:
        raw = self.gaussians
        maps = self.resting_maps[self.carried_binding]
        turns, grown = matrix_to_quat(orthonormalise(maps[..., :3])), maps[..., 0].norm(dim=-1, keepdim=True)
        means, quats = self.at_rest(dict(raw)).means, quat_multiply(turns, raw["quats"])
        return Resting(means, quats, raw["scales"] + grown.log(), raw["opacities"].detach(), raw["sh"].detach())

    def skinned(self) -> Skinned:
        if self.surface is None:
            expected = "skin, which a baked avatar goes with"
            raise UserError(
                "method.options.deform", "Gaussians that ride on triangles", expected, "fit with deform=skin"
            )
        footing, still = self.footing(), self.body.zero_pose()
        offsets = torch.cat([self.body.expressiondirs, self._standing_still(self.body.expressiondirs)])
        posedirs, resting = posedirs_of(self.body, len(self.figure.bust)), footing.of(self.surface.vertices)
        constant, stretched = self._expressed(still), self.moving_face[self.carried_face]
        return Skinned(footing, resting, stretched, offsets, constant, self.gradient, posedirs)

    def baked_weights(self, frames: DrivingSignal, footing: Footing) -> tuple[Weights, Grid | None]:
        return sparse_weights(footing.of(self.figure.weights)), None

    def baked_skeleton(self) -> Skeleton:
        figure = self.figure
        anchor = (figure.standing_at_rest(), figure.follow.detach()[None]) if len(figure.bust) else None
        return baked_skeleton(self.body, self.refined_betas()[0], anchor)

    def refined_betas(self) -> Float[Tensor, "1 S"]:
        """The person's shape, with what has been learned of it."""
        return self.betas

    def rested(self, basis: Float[Tensor, "n 14 R"], rows: Int[Tensor, " n"]) -> Float[Tensor, "n 14 R"]:
        """Changes of some Gaussians' raw attributes as they are where these rest: metres, turned as their triangles."""
        linear = self.resting_maps[self.carried_binding[rows], :, :3]
        turns = matrix_to_quat(orthonormalise(linear))
        quats = quat_multiply(turns[:, None].expand(-1, basis.shape[2], -1), basis[:, 3:7].mT).mT
        return torch.cat([linear @ basis[:, :3], quats, basis[:, 7:]], 1)

    # -- parts ---------------------------------------------------------------------------------------------------------

    def in_pose(self, pose: BodyPose, raw: Mapping[str, Tensor]) -> Gaussians:
        """Local Gaussians (all five raw attributes) in world space, as the options bind them."""
        return self.placed(pose, raw) if self.surface is None else self.carried_by_skin(pose, raw)

    def placed(self, pose: BodyPose, raw: Mapping[str, Tensor]) -> Gaussians:
        """Local Gaussians (all five raw attributes) in world space, on the figure in one frame's pose."""
        maps = triangle_maps(self.figure(pose), self.figure.faces)
        local = Local(raw["means"], raw["quats"], raw["scales"].exp())
        means, quats, scales = place(local, maps, self.carried_binding, scaled=True)
        return Gaussians(means, quats, scales, raw["opacities"].sigmoid(), raw["sh"])

    def carried_by_skin(self, pose: BodyPose, raw: Mapping[str, Tensor]) -> Gaussians:
        """The Gaussians (all five raw attributes) in world space, where the skin below each goes in a frame's pose.

        They stand where the learned ones do, whatever `raw` adds to these.
        """
        local = self.at_rest(raw)
        footing = self.footing(local.means if raw["means"] is self.gaussians["means"] else None)
        expressed = self._expressed(pose)
        local, offsets = self.with_the_skin(local, footing, expressed), expressed
        if self.body.posedirs is not None:
            offsets = offsets + self._all(self.body.pose_offsets(pose.full_pose)[0])
        maps = footing.of(self.figure.weights) @ self.figure.transforms(pose).flatten(1)
        means, quats, scales = place(local, maps.unflatten(1, (3, 4)), offsets=Offsets(offsets, footing))
        return Gaussians(means, quats, scales, raw["opacities"].sigmoid(), raw["sh"])

    def _expressed(self, pose: BodyPose) -> Float[Tensor, "W 3"]:
        return self._all(self.body.expressiondirs @ pose.expression[0])

    def _all(self, offsets: Float[Tensor, "V 3"]) -> Float[Tensor, "W 3"]:
        """Displacements of the figure's vertices, of the body's."""
        return torch.cat([offsets, self._standing_still(offsets)])

    def _standing_still(self, offsets: Float[Tensor, "V *n"]) -> Float[Tensor, "B *n"]:
        """The bust's."""
        return offsets.new_zeros(len(self.figure.bust), *offsets.shape[1:])

    def _initial_gaussians(self, skin: bool) -> nn.ParameterDict:
        options, count = self.bound_options, len(self.figure.faces)
        scales = torch.full((count, 3), options.scale)
        thick = FLAT if skin else 0.5
        scales[:, 2] *= thick if self.config.renderer.mode == "3dgs" else 0.01  # along the normal
        return nn.ParameterDict(
            {
                "means": torch.zeros(count, 3),
                "quats": torch.tensor(UPRIGHT).repeat(count, 1),
                "scales": scales.log(),
                "opacities": torch.full((count,), math.log(options.opacity / (1 - options.opacity))),
                "sh": torch.zeros(count, (options.sh_degree + 1) ** 2, 3),
            }
        )
