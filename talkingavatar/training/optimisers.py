"""One optimiser for Lightning that holds the named ones density control needs."""

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.graph import increment_version
from torch.optim import Adam, Optimizer


class NamedOptimisers(Optimizer):
    """Adam for every named group; a group at rate 0 is left alone, moments and all.

    Lightning counts each optimiser's step, so several in manual mode make its step counter run ahead; gsplat's
    strategies need one optimiser a parameter. This is one that holds many.
    """

    def __init__(self, inner: dict[str, Adam]) -> None:
        self.inner = inner
        super().__init__([{"params": g["params"]} for o in inner.values() for g in o.param_groups], {"lr": 0.0})
        self.param_groups = [group for o in inner.values() for group in o.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for optimiser in self.inner.values():
            if optimiser.param_groups[0]["lr"] > 0:
                optimiser.step()
                for parameter in optimiser.param_groups[0]["params"]:
                    increment_version(parameter)  # fused ones do not tell that they have changed it
        return loss

    def set_rate(self, name: str, rate: float) -> None:
        for group in self.inner[name].param_groups:
            group["lr"] = rate

    def parameters_of(self, name: str) -> list[torch.Tensor]:
        return self.inner[name].param_groups[0]["params"]

    def state_dict(self) -> dict[str, Any]:
        return {name: optimiser.state_dict() for name, optimiser in self.inner.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, optimiser in self.inner.items():
            optimiser.load_state_dict(state_dict[name])
        # Loading replaces the group dicts of the inner ones.
        self.param_groups = [group for o in self.inner.values() for group in o.param_groups]
