"""Gaussians in the local frames of a mesh's triangles, as in GaussianAvatars (CVPR 2024); methods B.2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from talkingavatar.body.bust import Figure
from talkingavatar.config.family_options import FlameRigged as Options
from talkingavatar.geometry.spherical_harmonics import rgb_to_sh
from talkingavatar.losses import beyond_position, beyond_scale
from talkingavatar.methods.base import Method, MethodContext
from talkingavatar.methods.colours import completed, parts_of, seen_colours
from talkingavatar.networks.placing import Local, place, triangle_maps
from talkingavatar.networks.pose_refinement import PoseRefinement
from talkingavatar.types import Batch, BodyPose, DrivingSignal, Gaussians, Rendering

# The local frame's second axis is the normal; a surfel's is its third.
UPRIGHT = (math.sqrt(0.5), -math.sqrt(0.5), 0.0, 0.0)
LOCAL_SCALE = 25.0  # gsplat's scene scale for local units: a Gaussian is split above, cloned below a quarter triangle


class TriangleBound(Method):
    """One Gaussian a triangle at the start; clones and children of a split inherit the triangle.

    Means, quaternions and scales are raw and local: world = k R mu + T, R q, k s (methods B.2.1). Because a split is
    drawn in local units, children of a large triangle are not thrown far, as they are in the published code.
    """

    carried_binding: Tensor

    def __init__(self, context: MethodContext, options: Options) -> None:
        super().__init__(context)
        self.bound_options = options
        self.figure = Figure(self.body, context.pose[context.train_frames])
        self.register_buffer("carried_binding", torch.arange(len(self.figure.faces)))
        self.gaussians = self._initial_gaussians()
        self.refinement = PoseRefinement(len(context.train_frames), context.pose)

    # -- what the base asks for ----------------------------------------------------------------------------------------

    @property
    def carried(self) -> dict[str, Int[Tensor, " N"]]:
        return {"binding": self.carried_binding}

    def carry(self, carried: dict[str, Int[Tensor, " N"]]) -> None:
        self.carried_binding = carried["binding"]

    def density_details(self) -> dict[str, Any]:
        """No triangle is left without a Gaussian: it could never get one back."""
        return {"keep": "binding", "scene_scale": LOCAL_SCALE}

    def vertices_of(self) -> Int[Tensor, " N"]:
        vertex = self.figure.faces[self.carried_binding, 0]
        return torch.where(vertex < len(self.body.v_template), vertex, -1)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {
            "pose": [self.refinement.full_pose, self.refinement.transl],
            "expression": [self.refinement.expression],
            "shoulders": [self.figure.follow],
        }

    def terms(self, drawn: dict[str, Rendering], batch: Batch) -> dict[str, Float[Tensor, "..."]]:
        terms = super().terms(drawn, batch)
        raw, options = self.gaussians, self.bound_options
        terms["position"] = beyond_position(raw["means"], options.most_position)
        terms["scale"] = beyond_scale(raw["scales"].exp(), options.most_scale)
        return terms

    def refined_pose(self, signal: DrivingSignal) -> BodyPose:
        """Tracked parameters with what has been learned about this frame; frames never trained on stay as tracked."""
        row = self.frame_row(signal)
        return signal.pose if row < 0 else self.refinement(signal.pose, row)

    # -- parts ---------------------------------------------------------------------------------------------------------

    def placed(self, pose: BodyPose, raw: Mapping[str, Tensor]) -> Gaussians:
        """Local Gaussians (all five raw attributes) in world space, on the figure in one frame's pose."""
        maps = triangle_maps(self.figure(pose), self.figure.faces)
        local = Local(raw["means"], raw["quats"], raw["scales"].exp())
        means, quats, scales = place(local, maps, self.carried_binding, scaled=True)
        return Gaussians(means, quats, scales, raw["opacities"].sigmoid(), raw["sh"])

    def _parts(self) -> dict[str, Bool[Tensor, " W"]]:
        """The body's parts; the bust is of its body."""
        parts = parts_of(self.body)
        bust = len(self.figure.bust)
        return {name: torch.cat([here, here.new_full((bust,), name == "body")]) for name, here in parts.items()}

    def _initial_gaussians(self) -> nn.ParameterDict:
        options, count = self.bound_options, len(self.figure.faces)
        scales = torch.full((count, 3), options.scale)
        scales[:, 2] *= 0.5 if self.config.renderer.mode == "3dgs" else 0.01  # along the normal
        faces = self.figure.faces
        colours = completed(*seen_colours(self.context, faces, self.figure), self.figure.rest, self._parts())
        sh = torch.zeros(count, (options.sh_degree + 1) ** 2, 3)
        sh[:, 0] = rgb_to_sh(colours[faces].mean(1))
        return nn.ParameterDict(
            {
                "means": torch.zeros(count, 3),
                "quats": torch.tensor(UPRIGHT).repeat(count, 1),
                "scales": scales.log(),
                "opacities": torch.full((count,), math.log(options.opacity / (1 - options.opacity))),
                "sh": sh,
            }
        )
