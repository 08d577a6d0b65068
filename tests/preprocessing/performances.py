"""What a detector would have seen of a known performance."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from talkingavatar.audio.speech import load_speech, voices
from talkingavatar.body.body import Body
from talkingavatar.body.keypoints import KeypointBody
from talkingavatar.data.speaker.body_motion import perform
from talkingavatar.preprocessing.keypoints import Keypoints
from talkingavatar.types import BodyPose

FPS, SIZE, FOCAL, DISTANCE = 25, 512, 1.3, 2.4
RIGHT_WAY_UP = torch.tensor([1.0, -1.0, -1.0])


@dataclass
class Seen:
    true: BodyPose
    points: torch.Tensor  # (T, 137, 3) in the world
    joints: torch.Tensor
    keypoints: Keypoints


def seen_performance(body: Body, frames: int, shift=(0.0, -0.45, 0.0), noise: float = 1.0, start: float = 1.0) -> Seen:
    """Frames of the synthetic speaker before a camera, projected, with a detector's noise.

    `shift` (metres, world) moves the speaker; `noise` scales errors of 2 px on the body, 1 on hands, 0.3 on the face,
    a third of it fresh in each frame.
    """
    first = round(start * FPS)
    moved = perform(load_speech(voices()[0]).excerpt(0, 4.0), first + frames, FPS, 3)
    rows = slice(first, None)
    betas = 0.7 * torch.randn(10, generator=torch.Generator().manual_seed(1))
    true = BodyPose(
        betas.expand(frames, -1),
        torch.from_numpy(moved.expression_matrix(body.expression_names)[rows]),
        torch.from_numpy(moved.full_pose[rows]),
        torch.from_numpy(moved.transl[rows]) + torch.tensor(shift),
    )
    with torch.no_grad():
        points, joints = KeypointBody(body)(true)
    pixels = in_picture(before_camera(points)).numpy()
    random = np.random.default_rng(0)
    scale = np.full(137, 0.3)
    scale[:25], scale[25:67] = 2.0, 1.0
    slow = 2 * gaussian_filter1d(random.standard_normal(pixels.shape), 2, axis=0)
    pixels = pixels + noise * scale[:, None] * (0.6 * random.standard_normal(pixels.shape) + slow)
    return Seen(true, points, joints, as_keypoints(pixels))


def before_camera(points: torch.Tensor) -> torch.Tensor:
    """World to the camera's axes, metres."""
    return points * RIGHT_WAY_UP + torch.tensor([0.0, 0.0, DISTANCE])


def in_picture(camera: torch.Tensor) -> torch.Tensor:
    """Points before the camera to pixels."""
    return FOCAL * SIZE * camera[..., :2] / camera[..., 2:] + SIZE / 2


def as_keypoints(pixels: np.ndarray, confidence: float = 0.9) -> Keypoints:
    inside = ((pixels > 0) & (pixels < SIZE)).all(-1, keepdims=True)
    rows = np.concatenate([np.where(inside, pixels, np.nan), confidence * inside], -1).astype(np.float32)
    gaps = np.full((len(rows), 478, 3), np.nan, np.float32)
    gaps[..., 2] = 0
    return Keypoints(rows[:, :135], rows[:, 135:], gaps, np.ones(len(rows), np.int64))


def hide(keypoints: Keypoints, frames: slice, rows: slice | list) -> None:
    """A gap, in place."""
    keypoints.points[frames, rows, :2] = np.nan
    keypoints.points[frames, rows, 2] = 0
