"""Small scenes for the tests of the rasteriser."""

import math
from dataclasses import fields

import torch

from talkingavatar.geometry.spherical_harmonics import rgb_to_sh
from talkingavatar.types import Cameras, Gaussians

ATTRIBUTES = ("means", "quats", "scales", "opacities", "sh")


def cameras(count=1, width=40, height=33, distance=4.0, dtype=torch.float32):
    """`count` cameras on an arc, looking at the origin."""
    views = torch.eye(4, dtype=dtype).repeat(count, 1, 1)
    views[:, 2, 3] = distance
    for c in range(count):
        cos, sin = math.cos(0.3 * c), math.sin(0.3 * c)
        views[c, :3, :3] = torch.tensor([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], dtype=dtype)
    K = torch.tensor([[1.6 * width, 0, 0.48 * width], [0, 1.5 * width, 0.53 * height], [0, 0, 1]], dtype=dtype)
    return Cameras(views, K.repeat(count, 1, 1), width, height)


def cloud(count=200, degree=0, seed=0, dtype=torch.float32):
    """A shell of splats with random attributes, dense enough to hide what is behind."""
    rng = torch.Generator().manual_seed(seed)
    normal = torch.randn(count, 3, generator=rng, dtype=dtype)
    means = torch.nn.functional.normalize(normal, dim=-1) * torch.tensor([0.7, 1, 0.7], dtype=dtype)
    return Gaussians(
        means,
        torch.randn(count, 4, generator=rng, dtype=dtype),
        torch.rand(count, 3, generator=rng, dtype=dtype) * 0.15 + 0.02,
        torch.rand(count, generator=rng, dtype=dtype) * 0.9 + 0.05,
        torch.randn(count, (degree + 1) ** 2, 3, generator=rng, dtype=dtype) * 0.3,
    )


def awkward(seed=0):
    """Splats off screen, behind, huge, tiny, faint, fully opaque and seen edge-on, among ordinary ones."""
    g = cloud(160, degree=1, seed=seed)
    means, quats, scales, opacities = g.means.clone(), g.quats.clone(), g.scales.clone(), g.opacities.clone()
    means[0:10, 0] += 1.4  # partly or wholly off screen
    means[10:15, 2] -= 4.5  # behind the eye
    means[15:18, 2] -= 3.9  # between the eye and the near plane, or just beyond it
    scales[20:24] *= 30
    scales[24:34] *= 0.01
    scales[34:37, 0] *= 40  # needles
    opacities[40:50] = 1.0
    opacities[50:55] = 0.003
    edge_on = torch.tensor([math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0])  # the normal along x
    means[60:64, 0], means[60:64, 2], quats[60:64] = 0.0, -1.0, edge_on
    return Gaussians(means, quats, scales, opacities, g.sh)


def differentiable(g):
    """Leaves with the same values."""
    return Gaussians(**{f.name: getattr(g, f.name).detach().clone().requires_grad_() for f in fields(g)})


def one(mean=(0.0, 0.0, 0.0), scale=0.1, opacity=0.8, colour=(1.0, 0.5, 0.25), quat=(1.0, 0, 0, 0)):
    """One round Gaussian facing the camera."""
    return Gaussians(
        torch.tensor([mean], dtype=torch.float32),
        torch.tensor([quat], dtype=torch.float32),
        torch.full((1, 3), scale),
        torch.tensor([opacity]),
        rgb_to_sh(torch.tensor([[colour]], dtype=torch.float32)),
    )


def concatenate(*parts):
    return Gaussians(**{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(parts[0])})


def as_motion(gradients, viewmats):
    """Gradients of view matrices as those of the cameras' turn and way (C 6), in which alone a rigid one can change."""
    turn = gradients[:, :3] @ viewmats[:, :3].mT
    return torch.cat(
        [torch.stack([turn[:, j, i] - turn[:, i, j] for i, j in ((0, 1), (0, 2), (1, 2))], -1), gradients[:, :3, 3]], -1
    )
