"""Speech whose motion is a linear map of its features: what a driver can learn to the end."""

from dataclasses import replace

import numpy as np
import torch

from talkingavatar.body.body import Body
from talkingavatar.body.pose_parts import PoseParts
from talkingavatar.data.motion_clips import MotionClip

CHANNELS = 44


def planted_clip(
    body: Body, name: str = "planted", frames: int = 200, seed: int = 0, fps: float = 25.0, noise: float = 0.0
) -> MotionClip:
    """Features that wander, and a mouth that follows the middle of each frame's window; the last fifth is held out."""
    draw = torch.Generator().manual_seed(seed)
    steps = torch.randn(2 * frames + 16, CHANNELS, generator=draw).cumsum(0)
    steps = (steps - steps.unfold(0, 15, 1).mean(-1).repeat_interleave(1, 0)[:1]) * 0.2
    steps = steps - torch.nn.functional.avg_pool1d(steps.T[None], 31, 1, 15, count_include_pad=False)[0].T
    features = steps.unfold(0, 16, 2)[:frames].transpose(1, 2).contiguous()
    parts = PoseParts(body, ("jaw", "mouth"))
    told = torch.randn(CHANNELS, len(parts), generator=torch.Generator().manual_seed(7)) * 0.02
    told[:, len(parts) // 2 :] = 0  # the rest of the mouth moves by itself
    values = features[:, 8] @ told + noise * torch.randn(frames, len(parts), generator=draw)
    values[:, len(parts) // 2 :] += 0.02 * torch.randn(frames, len(parts) - len(parts) // 2, generator=draw)
    zero = body.zero_pose(frames)
    root = zero.full_pose.clone()
    root[:, 0, 1] = torch.linspace(-0.3, 0.3, frames)
    pose = parts.write(replace(zero, full_pose=root), values)
    held = frames - frames // 5
    sound = np.random.default_rng(seed).normal(0, 0.05, round(frames / fps * 16000)).astype(np.float32)
    return MotionClip(name, features, pose, sound, fps, [(0, frames)], [(0, held)], [(held, frames)], pose)
