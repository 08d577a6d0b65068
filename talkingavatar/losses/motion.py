"""Losses between foretold and true motion."""

import torch
from jaxtyping import Float
from torch import Tensor


def parameter_difference(
    predicted: Float[Tensor, "B T P"], truth: Float[Tensor, "B T P"], squared: bool = True
) -> Float[Tensor, "B T P"]:
    """Squared or absolute difference of parameters, which are in standard deviations so that all count alike."""
    return _size(predicted - truth, squared)


def velocity_difference(
    predicted: Float[Tensor, "B T P"], truth: Float[Tensor, "B T P"], squared: bool = True
) -> Float[Tensor, "B _ P"]:
    """The same of first differences in time, a frame fewer (T - 1)."""
    return _size(torch.diff(predicted - truth, dim=1), squared)


def acceleration_difference(
    predicted: Float[Tensor, "B T P"], truth: Float[Tensor, "B T P"], squared: bool = True
) -> Float[Tensor, "B _ P"]:
    """The same of second differences in time, two frames fewer (T - 2)."""
    return _size(torch.diff(predicted - truth, n=2, dim=1), squared)


def lip_distance(predicted: Float[Tensor, "B V 3"], truth: Float[Tensor, "B V 3"]) -> Float[Tensor, "B V"]:
    """Millimetres between lip vertices that are given in metres."""
    # The root's slope has no end at 0: a hundredth of a micrometre keeps gradients finite.
    return 1e3 * ((predicted - truth).square().sum(-1) + 1e-16).sqrt()


def _size(difference: Float[Tensor, "*b"], squared: bool) -> Float[Tensor, "*b"]:
    return difference.square() if squared else difference.abs()
