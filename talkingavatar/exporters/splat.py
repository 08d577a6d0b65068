"""The .splat of antimatter15/splat: 32 bytes a Gaussian, without view-dependent colour."""

from __future__ import annotations

import numpy as np
import torch

from talkingavatar.geometry.spherical_harmonics import SH_C0
from talkingavatar.types import Gaussians

RECORD = np.dtype([("place", "<f4", 3), ("scale", "<f4", 3), ("colour", "u1", 4), ("turn", "u1", 4)])


def splat(gaussians: Gaussians) -> bytes:
    """The file of N settled Gaussians, those first that show most."""
    order = (gaussians.scales.prod(1) * gaussians.opacities).argsort(descending=True, stable=True)
    shown = torch.cat([0.5 + SH_C0 * gaussians.sh[:, 0], gaussians.opacities[:, None]], 1)
    records = np.zeros(len(gaussians), RECORD)
    records["place"], records["scale"] = gaussians.means[order].numpy(), gaussians.scales[order].numpy()
    records["colour"] = (255 * shown[order]).round().clamp(0, 255).byte().numpy()
    records["turn"] = (128 * gaussians.quats[order] + 128).round().clamp(0, 255).byte().numpy()
    return records.tobytes()
