"""What is learned about the pose of each training frame; zero is the tracker's word."""

from __future__ import annotations

import torch
from torch import nn

from talkingavatar.types import BodyPose


class PoseRefinement(nn.Module):
    """One row a training frame, added to the tracked pose.

    What is learned about all frames alike is taken off: it would trade against the canonical Gaussians, which follow
    the trained frames away from where the tracker puts the others (held-out PSNR fell by 4 dB).
    """

    def __init__(self, frames: int, pose: BodyPose) -> None:
        """`pose` gives the tables' widths."""
        super().__init__()
        self.full_pose = nn.Parameter(torch.zeros(frames, *pose.full_pose.shape[1:]))
        self.transl = nn.Parameter(torch.zeros(frames, 3))
        self.expression = nn.Parameter(torch.zeros(frames, pose.expression.shape[1]))

    def forward(self, pose: BodyPose, row: int) -> BodyPose:
        """The pose of the training frame with this row (B = 1)."""
        expression, full_pose, transl = (t[row] - t.mean(0) for t in (self.expression, self.full_pose, self.transl))
        return BodyPose(
            betas=pose.betas,
            expression=pose.expression + expression,
            full_pose=pose.full_pose + full_pose,
            transl=pose.transl + transl,
        )
