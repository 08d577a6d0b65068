"""One pure function a term, unreduced; weights and schedules are applied elsewhere."""

from talkingavatar.losses.contrast import anchored, sync_contrast
from talkingavatar.losses.geometry import (
    beyond_jut,
    beyond_position,
    beyond_scale,
    beyond_tilt,
    normal_consistency,
    skin_binding,
    vertex_binding,
)
from talkingavatar.losses.image import dssim, l1, ssim_map
from talkingavatar.losses.motion import acceleration_difference, lip_distance, parameter_difference, velocity_difference
from talkingavatar.losses.sharpness import edge_difference, sharpened
from talkingavatar.losses.units import unasked_change

__all__ = [
    "acceleration_difference",
    "anchored",
    "beyond_jut",
    "beyond_position",
    "beyond_scale",
    "beyond_tilt",
    "dssim",
    "edge_difference",
    "l1",
    "lip_distance",
    "normal_consistency",
    "parameter_difference",
    "sharpened",
    "skin_binding",
    "ssim_map",
    "sync_contrast",
    "unasked_change",
    "velocity_difference",
    "vertex_binding",
]
