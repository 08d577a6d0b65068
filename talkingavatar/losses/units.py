"""Losses on what action units change."""

from jaxtyping import Float
from torch import Tensor


def unasked_change(changes: Float[Tensor, " N"], shares: Float[Tensor, " U"]) -> Float[Tensor, " N"]:
    """Size of changes in a frame, the less the stronger its strongest unit is (EmoDiffTalk's coupling, methods D.3).

    Args:
        shares: how strong each unit is, 0 to 1.
    """
    return changes.abs() * (1 - shares.abs().amax()).clamp_min(0)
