"""Driving signals with inputs taken away: the papers' "silent audio" and "neutral expression"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.types import DrivingSignal


def silenced(
    signal: DrivingSignal, inputs: Sequence[str], quiet: Float[Tensor, "16 C"], jaw: int | None = None
) -> DrivingSignal:
    """The signal without some of its inputs.

    Args:
        inputs: some of `config.schema.INPUTS`. "audio" puts the window of digital silence everywhere (a model that
            never heard zeros would answer them with noise), "expression" sets all coefficients to 0, "jaw" its
            joint to rest. The rest of the pose stays as it is.
        quiet: the feature window of silence (`audio.features.silence_features`).
        jaw: number of the jaw's joint; needed for "jaw".
    """
    pose, audio = signal.pose, signal.audio
    if "audio" in inputs and audio is not None:
        audio = quiet.to(audio).expand_as(audio)
    if "expression" in inputs:
        pose = replace(pose, expression=torch.zeros_like(pose.expression))
    if "jaw" in inputs:
        assert jaw is not None
        full_pose = pose.full_pose.clone()
        full_pose[:, jaw] = 0
        pose = replace(pose, full_pose=full_pose)
    return replace(signal, pose=pose, audio=audio)
