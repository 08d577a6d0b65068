"""How far a face's motion is from the true one, and how far motions of one sound are from each other.

The measures of the papers on speech-driven meshes. Vertices are in metres, the head held still; answers in millimetres.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor

MILLIMETRES = 1e3


def lip_vertex_error(predicted: Float[Tensor, "T V 3"], truth: Float[Tensor, "T V 3"]) -> float:
    """LVE, mm^2: the greatest squared distance of any vertex of the lips, mean over frames.

    Source: CodeTalker, main/cal_metric.py (methods.md B.4.2).
    """
    return MILLIMETRES**2 * float((predicted - truth).square().sum(-1).amax(1).mean())


def dynamics_deviation(
    predicted: Float[Tensor, "T V 3"], truth: Float[Tensor, "T V 3"], rest: Float[Tensor, "V 3"]
) -> float:
    """FDD, mm^2: by how much more the truth's upper face moves; negative where the other moves more.

    How far a vertex moves is the standard deviation over time of its squared distance from where it is at `rest`; the
    order in time does not count, so it is read beside `velocity_error`. Source: as `lip_vertex_error`.
    """
    moved, should = (_dynamics(vertices, rest) for vertices in (predicted, truth))
    return MILLIMETRES**2 * float((should - moved).mean())


def _dynamics(vertices: Float[Tensor, "T V 3"], rest: Float[Tensor, "V 3"]) -> Float[Tensor, " V"]:
    return (vertices - rest).square().sum(-1).std(0, correction=0)


def velocity_error(
    predicted: Float[Tensor, "T V 3"],
    truth: Float[Tensor, "T V 3"],
    shots: Sequence[tuple[int, int]] | None = None,
) -> float:
    """Mean length of the difference of first differences in time, mm a frame; never across a cut.

    Args:
        shots: (start, stop) of each; none given means one.

    Returns:
        NaN where no two frames are neighbours.
    """
    apart = predicted - truth
    parts = [apart[start:stop].diff(dim=0) for start, stop in shots or [(0, len(apart))]]
    return MILLIMETRES * float(torch.cat(parts).norm(dim=-1).mean())


def mean_distance(a: Float[Tensor, "*b 3"], b: Float[Tensor, "*b 3"]) -> float:
    """Mean distance of vertices, mm."""
    return MILLIMETRES * float((a - b).norm(dim=-1).mean())


def pairwise_distance(motions: Sequence[Float[Tensor, "T V 3"]]) -> float:
    """Diversity, mm: the mean distance of vertices between any two of the motions (ProbTalk3D).

    Returns:
        NaN of fewer than two.
    """
    apart = [mean_distance(one, other) for one, other in combinations(motions, 2)]
    return sum(apart) / len(apart) if apart else float("nan")
