"""Speech whose motion is a linear map of its features: what a driver can learn to the end."""

from dataclasses import replace

import numpy as np
import torch

from talkingavatar.body.body import Body
from talkingavatar.body.pose_parts import PoseParts
from talkingavatar.data.motion_clips import MotionClip

CHANNELS, HIDDEN = 44, 3


def planted_clip(body: Body, name: str = "planted", frames: int = 200, seed: int = 0, fps: float = 25.0) -> MotionClip:
    """Three hidden walks are heard in all channels, and the first half of the mouth's parameters follows them.

    The other half moves by itself, as its action units tell. The head turns steadily, so that frames can be
    told apart; the last fifth is held out.
    """
    draw, map_draw = (torch.Generator().manual_seed(number) for number in (seed, 7))
    walk = torch.randn(2 * frames + 16, HIDDEN, generator=draw).cumsum(0)
    walk = walk - torch.nn.functional.avg_pool1d(walk.T[None], 31, 1, 15, count_include_pad=False)[0].T
    walk = walk / walk.std(0)
    steps = walk @ torch.randn(HIDDEN, CHANNELS, generator=map_draw)
    features = steps.unfold(0, 16, 2)[:frames].transpose(1, 2).contiguous()
    parts = PoseParts(body, ("jaw", "mouth"))
    half = len(parts) // 2
    told = 0.05 * walk[8 : 8 + 2 * frames : 2] @ torch.randn(HIDDEN, half, generator=map_draw)
    untold = 0.05 * torch.randn(frames, len(parts) - half, generator=draw)
    root = torch.zeros(frames, len(body.parents), 3)
    root[:, 0, 1] = torch.linspace(-0.3, 0.3, frames)
    pose = parts.write(replace(body.zero_pose(frames), full_pose=root), torch.cat([told, untold], 1))
    held = frames - frames // 5
    sound = np.random.default_rng(seed).normal(0, 0.05, round(frames / fps * 16000)).astype(np.float32)
    units = torch.cat([2.5 + 20 * untold, torch.zeros(frames, 17)], 1)[:, :17].clamp(0, 5)
    return MotionClip(name, features, pose, sound, fps, [(0, frames)], [(0, held)], [(held, frames)], pose, units)
