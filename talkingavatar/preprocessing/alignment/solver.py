"""The phases of the fit, each kept in a file when it is done, so that an interrupted fit goes on after the last."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.preprocessing.alignment.objective import Objective, Terms
from talkingavatar.preprocessing.alignment.variables import Variables

Progress = Callable[[str, int], Callable[[], None]]
TRUNK = ("pelvis", "spine1", "spine2", "spine3", "neck", "head")
# Step sizes of Adam: what a variable may move in one step.
RATES = {"betas": 0.02, "offsets": 0.0003, "place": 0.003, "pose": 0.02, "expression": 0.02}
WARM, COOL = 0.05, 0.02  # share of the steps that the rate rises over; what is left of it at the end


@dataclass(frozen=True)
class Phase:
    """Some variables, fitted for some steps."""

    name: str
    steps: int
    terms: Terms
    free: tuple[str, ...]
    joints: tuple[str, ...] | None = None  # that move; None: all
    points: list[int] | None = None  # that count; None: all
    pace: float = 1.0  # of `RATES`


def solve(
    start: Variables, objective: Objective, phases: list[Phase], folder: Path | None, digest: str, progress: Progress
) -> dict[str, Variables]:
    """Variables after each phase, by its name.

    Args:
        folder: where finished phases are kept; None keeps none.
        digest: of everything the result depends on; a file of another digest is not read.
        progress: `progress(title, total)` returns what is called after each step.
    """
    done: dict[str, Variables] = {}
    variables = start
    for phase in phases:
        kept = finished(phase, folder, digest)
        if kept is None:
            variables = _run(variables, objective, phase, progress(f"align: {phase.name}", phase.steps))
            if folder is not None:
                _write(folder / f"{phase.name}.npz", variables, digest)
        else:
            variables = kept
        done[phase.name] = variables
    return done


def finished(phase: Phase, folder: Path | None, digest: str) -> Variables | None:
    """What a phase came to, where an earlier start has kept it."""
    return None if folder is None else _read(folder / f"{phase.name}.npz", digest)


def _run(start: Variables, objective: Objective, phase: Phase, tick: Callable[[], None]) -> Variables:
    """Adam with a rate that rises and falls; actions are clamped to what they mean after each step."""
    variables = start.detached()
    groups = []
    for name in phase.free:
        leaf: Tensor = getattr(variables, name).requires_grad_()
        groups.append({"params": [leaf], "rate": phase.pace * RATES[name]})
    optimiser = torch.optim.Adam(groups, lr=0.0, betas=(0.9, 0.98), eps=1e-12)
    still = _still(variables.pose, objective, phase)
    expressions = objective.expression_prior
    for step in range(phase.steps):
        for group in optimiser.param_groups:
            group["lr"] = group["rate"] * _share(step, phase.steps)
        optimiser.zero_grad()
        objective(variables, phase.terms, phase.points).backward()
        if variables.pose.grad is not None:
            variables.pose.grad[:, still] = 0
        if variables.expression.grad is not None:
            variables.expression.grad[:, ~expressions.free] = 0
        optimiser.step()
        with torch.no_grad():
            expressions.clamp_(variables.expression)
        tick()
    return variables.detached()


def _still(pose: Float[Tensor, "T J 3"], objective: Objective, phase: Phase) -> list[int]:
    names = objective.model.body.joint_names
    return [] if phase.joints is None else [j for j, name in enumerate(names) if name not in phase.joints]


def _share(step: int, steps: int) -> float:
    """Of the full rate: up in a line, down along a cosine."""
    x = (step + 1) / steps
    return x / WARM if x < WARM else COOL + (1 - COOL) * 0.5 * (1 + math.cos(math.pi * (x - WARM) / (1 - WARM)))


def _write(file: Path, variables: Variables, digest: str) -> None:
    """Complete or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_suffix(f".{os.getpid()}.tmp")
    with scratch.open("wb") as out:
        np.savez(out, digest=digest, **{f.name: getattr(variables, f.name).numpy() for f in fields(Variables)})
    scratch.rename(file)


def _read(file: Path, digest: str) -> Variables | None:
    if not file.is_file():
        return None
    with np.load(file) as kept:
        if str(kept["digest"]) != digest:
            return None
        return Variables(**{f.name: torch.from_numpy(kept[f.name]) for f in fields(Variables)})
