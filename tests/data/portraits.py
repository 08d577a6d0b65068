"""A camera before a face, and a detector's landmarks of it."""

import torch

from talkingavatar.geometry.cameras import project
from talkingavatar.types import Cameras


def portrait(body, frames):
    """Two metres before the face, 512 x 512."""
    middle = body.posed_landmarks(body.zero_pose())[0].mean(0)
    view = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    view[:3, 3] = torch.tensor([-middle[0], middle[1], middle[2] + 2.0])
    K = torch.tensor([[1500.0, 0, 256], [0, 1500, 256], [0, 0, 1]])
    return Cameras(view.expand(frames, -1, -1), K.expand(frames, -1, -1), 512, 512)


def detected(body, pose, noise=0.0):
    """All of them seen, with so many pixels of noise."""
    points = project(body.posed_landmarks(pose), portrait(body, len(pose)))
    points = points + noise * torch.randn(points.shape, generator=torch.Generator().manual_seed(1))
    return torch.cat([points, torch.ones(len(pose), 68, 1)], -1)
