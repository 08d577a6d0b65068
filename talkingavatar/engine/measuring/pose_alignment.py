"""Test-time pose alignment: what a held-out frame looks like once the tracker's fault of its body is taken out.

A tracker that is a pixel off costs a striped shirt decibels, whatever the avatar is worth. So held-out frames are
measured twice: driven as tracked (the paper's protocol), and with their body pose aligned to the picture first (GART's
protocol, 300 steps there). Jaw, eyes, expression and sound stay as they came in, so that what an avatar makes of them
still counts.
"""

import torch
from torch.optim import Adam

from talkingavatar.losses import l1
from talkingavatar.methods.base import Method
from talkingavatar.types import Batch, DrivingSignal

STEPS = 15
RADIANS, METRES = 1e-3, 7e-4  # a step at the start, about half a pixel; falls to a tenth


@torch.enable_grad()
def aligned_signal(method: Method, batch: Batch) -> DrivingSignal:
    """The signal of one frame with joints (but those of the face) and translation moved to where the picture has them.

    The method's own parameters are left as they are; call it on a method whose parameters need no gradient.
    """
    pose = batch.signal.pose
    turned = torch.zeros_like(pose.full_pose, requires_grad=True)
    moved = torch.zeros_like(pose.transl, requires_grad=True)
    free = torch.tensor([not ("jaw" in name or "eye" in name) for name in method.body.joint_names])
    free = free.to(pose.transl.device)[:, None]
    optimiser = Adam([{"params": [turned], "lr": RADIANS}, {"params": [moved], "lr": METRES}])
    signal = batch.signal
    for _ in range(STEPS):
        signal = method.nudged(batch.signal, turned * free, moved)
        rendering = method.render(method.drive(signal), batch.cameras)
        optimiser.zero_grad()
        l1(rendering.rgb, batch.image).mean().backward()
        optimiser.step()
        for group in optimiser.param_groups:
            group["lr"] *= 0.1 ** (1 / STEPS)
    return method.nudged(batch.signal, (turned * free).detach(), moved.detach())
