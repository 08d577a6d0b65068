"""Gaussians of one moment, as files of others want them: checked, of a depth that viewers stand, facing their way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from talkingavatar.errors import UserError
from talkingavatar.types import Gaussians

THINNEST = 1e-3  # of the wider two scales: viewers divide by the third (aipixel/GaussianAvatar, issue 45)
# What a turn of 180 degrees about z does to each spherical harmonic, in the order of `geometry.spherical_harmonics`.
TURNED = (1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1)


def settled(gaussians: Gaussians) -> Gaussians:
    """On the CPU, with unit quaternions whose first number is not negative, and none too thin to be drawn.

    Raises:
        UserError: there are none, or some are no Gaussians.
    """
    g = gaussians.detach().to("cpu")
    sound = g.scales.amin(1) >= 0
    for value in (g.means, g.quats, g.scales, g.opacities[:, None], g.sh.flatten(1)):
        sound &= value.isfinite().all(1)
    sound &= g.quats.norm(dim=1) > 0
    if len(g) == 0 or not sound.all():
        found = f"{int((~sound).sum())} of {len(g)} Gaussians that are no numbers" if len(g) else "no Gaussian"
        raise UserError("run", found, "Gaussians to write", "fit it again: its checkpoint is damaged")
    quats = normalize(g.quats, dim=1)
    widest = g.scales.amax(1, keepdim=True).clamp_min(1e-9)
    return replace(
        g,
        quats=torch.where(quats[:, :1] < 0, -quats, quats),
        scales=torch.maximum(g.scales, THINNEST * widest),
        opacities=g.opacities.clamp(0, 1),
    )


def surfels(gaussians: Gaussians) -> Gaussians:
    """Discs, whose third scale says nothing, as flat ellipsoids."""
    flat: Any = gaussians.scales[:, :2].amax(1, keepdim=True) * THINNEST
    return replace(gaussians, scales=torch.cat([gaussians.scales[:, :2], flat], 1))


def turned(gaussians: Gaussians) -> Gaussians:
    """Turned by 180 degrees about z, as viewers of .ply turn them back: upright there, with the face to the front."""
    w, x, y, z = gaussians.quats.unbind(1)
    about_z: Tensor = torch.stack([-z, -y, x, w], 1)  # (0, 0, 0, 1) times the quaternion
    signs = torch.tensor(TURNED[: gaussians.sh.shape[1]], dtype=gaussians.sh.dtype)[:, None]
    return replace(
        gaussians,
        means=gaussians.means * gaussians.means.new_tensor([-1.0, -1.0, 1.0]),
        quats=torch.where(about_z[:, :1] < 0, -about_z, about_z),
        sh=gaussians.sh * signs,
    )


def morton(means: Tensor) -> Tensor:
    """Order of points along a curve that fills their box, so that neighbours are neighbours in the file."""
    low, high = means.amin(0), means.amax(0)
    cells = ((means - low) / (high - low).clamp_min(1e-9) * 1023).long()
    code = torch.zeros(len(means), dtype=torch.long)
    for bit in range(10):
        for axis in range(3):
            code |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return code.argsort(stable=True)
