"""Files of LivePortrait's grammar with small random weights, and a portrait for them."""

from functools import cache

import numpy as np
import torch

from talkingavatar.data.portrait import Portrait
from talkingavatar.data.portrait.live_portrait import LivePortrait
from talkingavatar.networks.live_portrait import Widths
from talkingavatar.networks.live_portrait.blocks import SpectralConv
from talkingavatar.networks.live_portrait.files import NETWORKS, STITCHING, find_live_portrait

TINY = Widths(
    picture=32, block=8, most=16, depth=4, volume_blocks=1, flow_block=4, flow_most=16, flow_levels=2,
    stages=(1, 1, 1, 1), channels=(8, 8, 12, 16), styled=8,
)  # fmt: skip


def states():
    """By name of the network; the same whenever they are asked for, and to be changed at will."""
    return {name: {key: value.clone() for key, value in state.items()} for name, state in _drawn().items()}


@cache
def _drawn():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        networks = {name: kind(TINY).requires_grad_(False) for name, kind in NETWORKS.items()}
    for module in networks["spade_generator"].modules():
        if isinstance(module, SpectralConv):
            u, _, v = torch.linalg.svd(module.weight_orig.flatten(1), full_matrices=False)
            module.weight_u.copy_(u[:, 0])
            module.weight_v.copy_(v[0])
    return {name: network.state_dict() for name, network in networks.items()}


def write_published(folder, given=None):
    """As the authors have them: bare dicts of tensors, that of the stitching in three with names of two processes."""
    for name, state in (given or states()).items():
        if name == STITCHING:
            parts = {}
            for key, value in state.items():
                part, inner = key.split(".", 1)
                parts.setdefault(part, {})[f"module.{inner}"] = value
            state = parts
        torch.save(state, folder / f"{name}.pth")
    return folder


def write_flat(folder):
    """As they were repacked: safetensors, that of the stitching flat."""
    from safetensors.torch import save_file

    for name, state in states().items():
        if name == STITCHING:
            state = {key.replace(".", "_module.", 1): value for key, value in state.items()}
        save_file(state, folder / f"{name}.safetensors")
    return folder


def tiny_source(mesh, folder, driver=None):
    """One that stitches nothing, so that what comes out can be told."""
    given = states()
    for key, value in given[STITCHING].items():
        if key.startswith("retarget_shoulder.mlp.6"):
            value.zero_()
    return LivePortrait(mesh, find_live_portrait(str(write_published(folder, given))), driver, TINY)


def tiny_portrait(mesh, width=80, height=80):
    """A face before a picture that varies everywhere."""
    neutral = mesh.neutral(torch.zeros(1, 10))[0]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    picture = np.stack([120 + 60 * np.sin(x / 7), 120 + 60 * np.cos(y / 9), 90 + x], -1).astype(np.uint8)
    K = np.array([[130.0, 0, width / 2], [0, 130.0, height / 2], [0, 0, 1]])
    matte = np.where(np.hypot(x - width / 2, y - height / 2) < 30, 255, 0).astype(np.uint8)
    return Portrait(picture, matte, K, neutral, neutral + torch.tensor([0.0, -0.02, -0.9]))
