"""What the fit looks at on a body, as arrays for the kernels, and the cost of it as one step of autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.body.keypoints import Corners
from talkingavatar.geometry.rotations import axis_angle_to_matrix
from talkingavatar.preprocessing.alignment import kernels
from talkingavatar.preprocessing.alignment.kernels import Followed, Posed, Rig, Seen, Steady
from talkingavatar.preprocessing.alignment.tracks import Tracks
from talkingavatar.preprocessing.alignment.variables import Variables, share_opening
from talkingavatar.splatting.cpu.launch import spread


class Figure:
    """Keypoints, joints and followed places of a body. What does not change from step to step is computed once."""

    def __init__(self, body: Body, corners: Corners, tracks: Tracks | None = None) -> None:
        points = corners.shares.shape[1]
        share, point = corners.shares.max(1)
        rest, weights = corners.template, corners.weights
        shape, expression, pose = corners.shapedirs, corners.expressiondirs, corners.posedirs
        if tracks is not None:
            rows, new = tracks.vertices, len(tracks.vertices)
            rest = torch.cat([rest, body.v_template[rows] + tracks.offsets])
            shape = torch.cat([shape, body.shapedirs[rows].permute(2, 0, 1)], 1)
            expression = torch.cat([expression, body.expressiondirs[rows].permute(2, 0, 1)], 1)
            if pose is not None and body.posedirs is not None:
                pose = torch.cat([pose, body.posedirs.unflatten(1, (-1, 3))[:, rows]], 1)
            weights = torch.cat([weights, body.weights[rows]])
            point, share = torch.cat([point, points + torch.arange(new)]), torch.cat([share, torch.ones(new)])
        self.template, self.shapedirs = rest, shape.flatten(1)
        self.expressiondirs, self.posedirs = expression.flatten(1), None if pose is None else pose.flatten(1)
        self.owned = corners.owned
        self.rig = _rig(body, weights, point, share)
        self.points = int(point.max()) + 1

    def rest(self, variables: Variables) -> Float[Tensor, "T n 3"]:
        """Corners of the body in its T-pose, shaped and with its expression, metres."""
        still = self.template + (variables.betas @ self.shapedirs).unflatten(0, (-1, 3))
        marks = self.owned @ share_opening(variables.offsets)
        still = torch.cat([still[: len(marks)] + marks, still[len(marks) :]])
        moved = still.flatten() + variables.expression @ self.expressiondirs
        if self.posedirs is not None:
            turned = axis_angle_to_matrix(variables.pose[:, 1:]) - torch.eye(3)
            moved = moved + turned.flatten(1) @ self.posedirs
        return moved.unflatten(1, (-1, 3))


def _rig(body: Body, weights: Float[Tensor, "n J"], point: Tensor, share: Tensor) -> Rig:
    corners, joints = weights.nonzero(as_tuple=True)
    first = np.searchsorted(corners.numpy(), np.arange(len(weights) + 1))
    return Rig(
        np.array(body.parents, np.int64),
        body.joint_names.index("neck"),
        first.astype(np.int64),
        joints.contiguous().numpy(),
        weights[corners, joints].double().numpy(),
        point.numpy(),
        share.double().numpy(),
    )


class SeenCost(torch.autograd.Function):
    """Cost of a figure before a camera: how far its points are from what was seen, and how they accelerate."""

    @staticmethod
    def forward(
        ctx: Any,
        pose: Float[Tensor, "T J 3"],
        rest: Float[Tensor, "T n 3"],
        places: Float[Tensor, "T 3"],
        focal: float,
        figure: Figure,
        terms: tuple[Seen, Followed, Steady],
    ) -> Float[Tensor, ""]:
        """Mean over frames. `places` are the neck's before the camera, metres; focal in long sides."""
        given = pose.detach().numpy(), rest.detach().numpy()
        count, joints = pose.shape[:2]
        turns, world = np.empty((2, count, joints, 3, 3))
        posed = Posed(turns, world, np.empty((count, joints, 3)), np.empty((count, figure.points, 3)))
        spread(kernels.pose, *given, places.detach().numpy(), figure.rig, posed)
        costs, pulls = np.empty(count), np.empty_like(posed.points)
        spread(kernels.cost, posed.points, focal, *terms, costs, pulls)
        if any(ctx.needs_input_grad):
            back: list[ndarray] = [np.empty(value.shape, np.float32) for value in (pose, rest, places)]
            spread(kernels.pull_back, *given, figure.rig, posed, pulls, *back)
            ctx.save_for_backward(*(torch.from_numpy(value) for value in back))
        return pose.new_tensor(costs.mean())

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        share = above[0] / len(ctx.saved_tensors[0])
        return *(pull * share for pull in ctx.saved_tensors), None, None, None
