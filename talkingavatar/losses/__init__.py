"""One pure function a term, unreduced; weights and schedules are applied elsewhere."""

from talkingavatar.losses.contrast import anchored, sync_contrast
from talkingavatar.losses.geometry import beyond_position, beyond_scale, normal_consistency, vertex_binding
from talkingavatar.losses.image import dssim, l1, ssim_map

__all__ = [
    "anchored",
    "beyond_position",
    "beyond_scale",
    "dssim",
    "l1",
    "normal_consistency",
    "ssim_map",
    "sync_contrast",
    "vertex_binding",
]
