"""Whether what a checkpoint holds of Gaussians fits together, before anything is indexed by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

WIDEST = 10.0  # log metres, or of a triangle: twenty kilometres


def check_gaussians(
    checkpoint: Mapping[str, Any], gaussians: nn.ParameterDict, numbered: Mapping[str, int], most: int
) -> None:
    """Compiled code reads where it is told to: an index that is out of range must not come to it.

    Args:
        checkpoint: as read from its file; "density" is None where the number of Gaussians does not change.
        gaussians: the raw attributes of the method that is to take it.
        numbered: how many there are of what each carried integer numbers.
        most: Gaussians that there may be.

    Raises:
        ValueError: Gaussians are of other shapes, their numbers differ, they are too many or such as no fit makes, or
            they stand on what there is not.
        KeyError: something is missing.
    """
    state, density = checkpoint["state_dict"], checkpoint["density"] or {}
    rows = {name: (len(state[f"gaussians.{name}"]), state[f"gaussians.{name}"].shape[1:]) for name in gaussians}
    others = [name for name, (_, shape) in rows.items() if shape != gaussians[name].shape[1:]]
    if others or len({count for count, _ in rows.values()}) > 1:
        told = ", ".join(f"{name} {count} of {tuple(shape)}" for name, (count, shape) in rows.items())
        raise ValueError(f"Gaussians that do not fit each other: {told}")
    count = len(state["gaussians.means"])
    if not 0 < count <= most:
        raise ValueError(f"{count} Gaussians of at most {most}")
    if (widest := float(state["gaussians.scales"].max())) > WIDEST:
        raise ValueError(f"Gaussians as wide as e^{widest:.0f}")
    if not state["gaussians.quats"].any(-1).all():
        raise ValueError("quaternions of zero, which turn nothing")
    carried = {name: state[f"carried_{name}"] for name in numbered}
    if any(value.shape != (count,) for value in (*density.values(), *carried.values())):
        raise ValueError("what density control and Gaussians carry is of another number of them")
    for name, value in carried.items():
        least, most = int(value.min()), int(value.max())
        if value.dtype != torch.int64 or least < 0 or most >= numbered[name]:
            raise ValueError(
                f"carried_{name} of {value.dtype} from {least} to {most}, of {numbered[name]} that there are"
            )
        if density and not torch.equal(density[name], value):
            raise ValueError(f"density control carries another {name} than Gaussians do")
