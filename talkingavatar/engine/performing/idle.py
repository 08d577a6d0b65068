"""Endless body motion out of a clip: it plays on and passes, where two moments look alike, from one to the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from talkingavatar.geometry.slerp import blend_poses
from talkingavatar.types import BodyPose

FADE_S = 0.4  # of a passage from one moment to another, seconds
STRETCH_S = 1.6  # shortest stretch that is played between two passages
MOST_FRAMES = 3000  # of a shot that are searched for passages


@dataclass(frozen=True)
class IdlePath:
    """Which frames of a clip make up each frame of the new motion: `first` fades into `second` by `share`."""

    first: Int[ndarray, " L"]
    second: Int[ndarray, " L"]
    share: Float[ndarray, " L"]

    def apply(self, pose: BodyPose) -> BodyPose:
        """The motion, of the clip's poses."""
        a, b = pose[torch.from_numpy(self.first)], pose[torch.from_numpy(self.second)]
        return blend_poses(a, b, torch.from_numpy(self.share).to(pose.full_pose.dtype))


def idle_path(
    joints: Float[ndarray, "T J 3"], shot: tuple[int, int], length: int, fps: float | int, seed: int
) -> IdlePath:
    """A motion of `length` frames from the frames [start, stop) of one shot.

    Args:
        joints: positions in metres, by which moments are compared.
        seed: of the choice among passages of about equal likeness.
    """
    start, stop = shot
    stop = min(stop, start + MOST_FRAMES)
    fade, stretch = max(2, round(FADE_S * fps)), max(2, round(STRETCH_S * fps))
    if stop - start >= length:
        frames = np.arange(start, start + length)
        return IdlePath(frames, frames, np.zeros(length))
    if stop - start < 2 * (fade + stretch):
        return _to_and_fro(start, stop - start, length)
    unlikeness = _unlikeness(joints[start:stop], fade)
    rng = np.random.default_rng(seed)
    first, second, share = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    at, done = 0, 0
    while done < length:
        leave, enter = stop - start, 0
        if at + length - done > stop - start:
            leave, enter = _passage(unlikeness, at + stretch, fade + stretch, rng)
            # A place just used is less likely to be used again: the motion shall not run in one circle.
            unlikeness[max(0, leave - fade) : leave + fade] *= 2
        played, fading = np.arange(at, leave), np.arange(fade)
        first += [played, leave + fading]
        second += [played, enter + fading]
        share += [np.zeros(len(played)), _smooth(fade)]
        done += len(played) + fade
        at = enter + fade
    whole = [np.concatenate(part)[:length] for part in (first, second, share)]
    return IdlePath(start + whole[0], start + whole[1], whole[2])


def _smooth(count: int) -> Float[ndarray, " n"]:
    """From just above 0 to just below 1, level at both ends."""
    t = np.arange(1, count + 1) / (count + 1)
    return t * t * (3 - 2 * t)


def _to_and_fro(start: int, frames: int, length: int) -> IdlePath:
    """A shot too short to pass anywhere: to its end and back, never faster than it was, slowing where it turns."""
    last = max(1, frames - 1)
    place = (1 - np.cos(np.arange(length) * 2 / last)) / 2 * (frames - 1)
    left = np.minimum(place.astype(np.int64), frames - 1)
    right = np.minimum(left + 1, frames - 1)
    return IdlePath(start + left, start + right, place - left)


def _unlikeness(joints: Float[ndarray, "T J 3"], fade: int) -> Float[ndarray, "M M"]:
    """Mean squared distance (m^2) of the joints while frames i... and j... pass side by side for the fade."""
    flat = joints.reshape(len(joints), -1).astype(np.float32)
    flat = flat - flat.mean(0)
    squares = np.square(flat).sum(1)
    pairs = np.maximum(squares[:, None] + squares[None] - 2 * flat @ flat.T, 0) / joints.shape[1]
    count = len(joints) - fade + 1
    return sum(pairs[k : k + count, k : k + count] for k in range(fade)) / fade  # type: ignore[return-value]


def _passage(
    unlikeness: Float[ndarray, "M M"], earliest: int, follows: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Where to leave, from `earliest` on, and where to enter: among the best, one drawn at random.

    It enters where as many frames as `follows` are left, so that another passage can follow and the motion never
    runs out; leaving for a moment close by would stutter.
    """
    count = len(unlikeness)
    cost = unlikeness[earliest:, : count - follows].copy()
    leave, enter = np.arange(earliest, count)[:, None], np.arange(cost.shape[1])[None]
    cost[np.abs(leave - enter) < follows] = np.inf
    best = np.argpartition(cost, min(200, cost.size - 1), axis=None)[:200]
    chosen = rng.choice(best[cost.ravel()[best] <= 1.3 * cost.min()])
    row, column = np.unravel_index(chosen, cost.shape)
    return earliest + int(row), int(column)
