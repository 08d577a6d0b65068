"""AO, MD and Conf of two streams of SyncNet embeddings, as published (`SyncNetInstance.evaluate`).

AO (offset in frames of 25 fps) is positive where the sound comes before the lips and negative where it lags behind. MD
is also known as LSE-D, Conf as LSE-C.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad, pairwise_distance

from talkingavatar.errors import UserError

REACH = 15  # shifts to either side, frames at 25 fps
SLACK = 3  # positions by which video and sound may differ in length: what containers round


@dataclass(frozen=True)
class SyncScores:
    """`curve[j]`: mean distance to the sound shifted by j - reach frames; its minimum is `md`.

    `distances` and `margins` are what each position, five frames of video, has of `md` and `conf`: their means.
    """

    ao: int
    md: float
    conf: float
    curve: tuple[float, ...]
    distances: Float[Tensor, " n"] = field(compare=False)
    margins: Float[Tensor, " n"] = field(compare=False)


def sync_scores(lip: Float[Tensor, "L D"], audio: Float[Tensor, "M D"], reach: int = REACH) -> SyncScores:
    """Scores of embeddings at 25 positions a second; the longer one is cut by up to `SLACK`.

    Beyond its ends the sound is the zero vector, which lifts the outer shifts of short clips: kept, for comparability.

    Raises:
        UserError: nothing to compare, or streams of different lengths.
    """
    if min(len(lip), len(audio)) == 0:
        found = f"{len(lip)} positions of lips, {len(audio)} of sound"
        raise UserError("sync", found, "at least one of each (6 frames at 25 fps)", "give a longer clip")
    if abs(len(lip) - len(audio)) > SLACK:
        found = f"{len(lip)} positions of lips, {len(audio)} of sound"
        raise UserError("sync", found, f"equal lengths within {SLACK}", "cut video and sound to one length")
    distances = shift_distances(lip, audio, reach)
    curve = distances.mean(0)
    lowest, at = curve.min(0)
    middle, usual = curve.median(0)  # torch's median of the 31 values is the 16th, as published
    return SyncScores(
        ao=reach - int(at),
        md=float(lowest),
        conf=float(middle - lowest),
        curve=tuple(curve.tolist()),
        distances=distances[:, at],
        margins=distances[:, usual] - distances[:, at],
    )


def shift_accuracy(distances: Float[Tensor, "n shifts"], frames: int = 5, near: int = 1) -> float | None:
    """Share of places whose smallest distance is at most `near` frames from shift 0.

    A place is as many positions in a row as `frames` of video show, their distances averaged: the literature's
    "accuracy at 5, ..., 15 frames". Only positions with sound at every shift count; None where there are none.
    """
    reach, positions = distances.shape[1] // 2, frames - 4
    inner = distances[reach : len(distances) - reach]
    if len(inner) < positions:
        return None
    averaged = inner.unfold(0, positions, 1).mean(-1)
    return float(((averaged.argmin(1) - reach).abs() <= near).float().mean())


def shift_distances(lip: Float[Tensor, "L D"], audio: Float[Tensor, "M D"], reach: int) -> Float[Tensor, "n shifts"]:
    """Distance of each position's lips to the sound at each shift from -reach to reach; n is the shorter length."""
    positions = min(len(lip), len(audio))
    lip, padded = lip[:positions], pad(audio[:positions], (0, 0, reach, reach))
    shifts = range(2 * reach + 1)
    return torch.stack([pairwise_distance(lip, padded[j : j + positions], eps=1e-6) for j in shifts], 1)
