"""LivePortrait's motion templates (`.pkl`), read without running what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.unpickle import read_arrays
from talkingavatar.data.mesh_motion import FPS
from talkingavatar.errors import UserError
from talkingavatar.networks.live_portrait import angles_of
from talkingavatar.networks.mesh_code import MotionLatent

WANTED = "a motion template of LivePortrait: n_frames, output_fps, and motion with scale, R, exp and t of each frame"
ACTION = "give one as LivePortrait saves it of a video"


def read_template(file: Path, keypoints: int) -> MotionLatent:
    """
    Raises:
        UserError: it is missing, no template, of another rate, or names code (which never runs).
    """
    content = read_arrays(file, "motion", WANTED, ACTION)
    frames, fps = content.get("motion"), content.get("output_fps", FPS)
    if not isinstance(frames, list) or not frames:
        raise UserError("motion", f"{file} with {', '.join(map(str, list(content)[:5]))}", WANTED, ACTION)
    if fps != FPS:
        raise UserError("motion", f"{file} at {fps} frames a second", f"{FPS}", "make it of a video at that rate")
    sizes = {"scale": (1,), "R": (3, 3), "exp": (keypoints, 3), "t": (3,)}
    parts = {name: torch.stack([_read(file, frame, name, size) for frame in frames]) for name, size in sizes.items()}
    if not bool((parts["scale"] > 0).all()):
        raise UserError("motion", f"{file} with a scale of 0 or less", "scales above 0", ACTION)
    pose = torch.cat([parts["scale"].log(), angles_of(parts["R"]), parts["t"]], 1)
    return MotionLatent(parts["exp"].flatten(1), pose)


def _read(file: Path, frame: Any, name: str, size: tuple[int, ...]) -> Float[Tensor, "..."]:
    value: ndarray | None = None
    if isinstance(frame, dict):
        given = frame.get(name, frame.get(f"{name}_d"))  # R_d in the first templates
        if isinstance(given, (np.ndarray, float)):
            value = np.asarray(given)
    if value is None or value.dtype.kind != "f" or value.size != np.prod(size) or not np.isfinite(value).all():
        found = "nothing" if value is None else f"{value.dtype} {value.shape}"
        raise UserError("motion", f"{file} with {name} {found}", f"{size} finite numbers a frame", ACTION)
    return torch.from_numpy(value.astype(np.float32).reshape(size))
