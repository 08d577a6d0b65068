"""Gaussians that no training frame shows: they keep what they were started with; by the end others know better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from talkingavatar.geometry.spherical_harmonics import SH_C0, rgb_to_sh
from talkingavatar.methods.base import Method
from talkingavatar.methods.colours import DEPTH, THROUGH, USUAL, donated, looks_like, some_frames
from talkingavatar.methods.gaps import pixel_at
from talkingavatar.types import Cameras, Gaussians

FRAMES = 16  # that are looked at
SHOWN = 1.0  # pixels of a frame that a Gaussian's weights must sum to, in the mean, to give its colour to others
HIDDEN = 1e-3  # and below which it counts as never seen
LITTLE = 1.3e-7  # square metres that one which lies in a mouth must show of itself to be half believed
DIM = 0.03  # metres behind the front of teeth, tongue or walls where these get e times less light
DONORS = 6  # of a colour: Gaussians are much finer than vertices
SURE = 0.5  # opacity of those that give
Driven = tuple[Gaussians, Cameras]


@torch.no_grad()
def driven_frames(method: Method) -> list[Driven]:
    """The avatar in a few training frames, as their cameras see it."""
    batch = some_frames(method.context, FRAMES).to(method.device)
    frames = [batch.frame(i) for i in range(len(batch))]
    return [(method.drive(frame.signal), frame.cameras) for frame in frames]


def contributions(method: Method, driven: list[Driven]) -> Float[Tensor, " N"]:
    """Pixels of a frame that are each Gaussian's, in the mean of some: its blending weights summed up."""
    total = torch.zeros(len(method.gaussians["means"]), device=method.device)
    for gaussians, cameras in driven:
        # The picture is linear in the constant colours, so the sum's gradient by them is the sum of the weights.
        colours = torch.zeros_like(gaussians.sh[:, :1]).requires_grad_()  # mid-grey, where none is clamped
        with torch.enable_grad():
            drawn = method.render(replace(gaussians, sh=colours), cameras).rgb
            (slope,) = torch.autograd.grad(drawn.sum(), colours)
        total = total + slope[:, 0].mean(-1) / SH_C0
    return total / len(driven)


@torch.no_grad()
def fill_unseen(
    method: Method,
    driven: list[Driven],
    rest: Float[Tensor, "N 3"],
    extent: Float[Tensor, " N"],
    parts: Mapping[str, Bool[Tensor, " N"]],
) -> Bool[Tensor, " N"]:
    """Give each the colour of those nearest to it that are seen, of its part.

    What lies in a mouth is seen little, and lips are taken for it: the less of one is seen, the more it gets what
    mouths usually have, darker the deeper it lies.

    Args:
        driven: as `driven_frames` gives it.
        rest: where the Gaussians are when nothing moves, metres, in the body's T-pose.
        extent: standard deviations that they are to have at least, in the method's units; 0 where one stays as it is.
        parts: which of them are of each part.

    Returns:
        Which were filled.
    """
    seen, gaussians = contributions(method, driven), method.gaussians
    hidden, known = seen < HIDDEN, (seen > SHOWN) & (gaussians["opacities"].sigmoid() > SURE)
    for name, mine in parts.items():
        given, wanted = mine & known, mine & hidden
        if name in USUAL and mine.any():
            drawn, cameras = driven[0]
            little = LITTLE / pixel_at(drawn.means[mine], cameras) ** 2  # pixels: films of heads have many for a tooth
            sure = (seen / (seen + little))[mine, None]
            deep = rest[mine, 2].max() - rest[mine, 2]
            usual = rgb_to_sh((-deep / DIM).exp()[:, None] * torch.tensor(USUAL[name], device=rest.device))
            gaussians["sh"][mine, 0] = sure * gaussians["sh"][mine, 0] + (1 - sure) * usual
        elif given.any() and wanted.any():
            places, own, there = rest[given].cpu(), gaussians["sh"][given, 0].cpu(), rest[wanted].cpu()
            colours = donated(places, own, looks_like(name, places, there), DONORS, THROUGH.get(name, DEPTH))
            gaussians["sh"][wanted, 0] = colours.to(rest.device)
    covering = torch.maximum(gaussians["scales"][:, :2], extent.log()[:, None])
    gaussians["scales"][:, :2] = torch.where(hidden[:, None], covering, gaussians["scales"][:, :2])
    return hidden
