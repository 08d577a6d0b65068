"""One optimiser for Lightning that holds the named ones density control needs."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import increment_version
from torch.optim import Adam, Optimizer

from talkingavatar.config.schema import RateConfig


def adams(groups: Mapping[str, list[nn.Parameter]], rows: Mapping[str, RateConfig]) -> dict[str, Adam]:
    """An Adam for each group, with the options of its row of the schedule table; rates are set step by step."""
    made = {}
    for name, row in rows.items():
        made[name] = Adam(
            groups[name],
            lr=0.0,
            betas=(row.betas[0], row.betas[1]),
            eps=row.eps,
            weight_decay=row.weight_decay,
            decoupled_weight_decay=True,
            fused=True,
        )
        made[name].param_groups[0]["clip"] = row.clip
    return made


class NamedOptimisers(Optimizer):
    """Adam for every named group; a group at rate 0 is left alone, moments and all.

    Lightning counts each optimiser's step, so several in manual mode make its step counter run ahead; gsplat's
    strategies need one optimiser a parameter. This is one that holds many.
    """

    def __init__(self, inner: dict[str, Adam]) -> None:
        self.inner = inner
        super().__init__([{"params": g["params"]} for o in inner.values() for g in o.param_groups], {"lr": 0.0})
        self.param_groups = [group for o in inner.values() for group in o.param_groups]

    def step(self, closure: Callable[[], Any] | None = None, without: Collection[str] = ()) -> Any:  # type: ignore[override]
        """One step of all groups but some."""
        return self.step_groups([name for name in self.inner if name not in without], closure)

    def step_groups(self, names: Collection[str], closure: Callable[[], Any] | None = None) -> Any:
        """One step of some groups."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for name in names:
            (group,) = self.inner[name].param_groups
            if group["lr"] > 0:
                if group["clip"] > 0:
                    torch.nn.utils.clip_grad_norm_(group["params"], group["clip"])
                self.inner[name].step()
                for parameter in group["params"]:
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
