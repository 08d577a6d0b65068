"""The stages of an experiment: which there are, and the configuration as each of them sees it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from talkingavatar.config.schema import KINDS, FitConfig
from talkingavatar.errors import UserError

OWN = ("density", "loss", "method", "driver", "pretrained")  # sections that a stage may have of its own


def seen_by(config: FitConfig, name: str) -> FitConfig:
    """An experiment's configuration as a stage sees it: its own sections, and a budget of its own steps."""
    stage = config.stages[name]
    own: dict[str, Any] = {part: getattr(stage, part) for part in OWN if getattr(stage, part) is not None}
    seen = replace(config, **own)
    cost = {"avatar": 1, "driver": seen.driver.step_cost, "pretrained": seen.pretrained.step_cost}[stage.kind]
    steps = max(1, config.budget.steps // cost) if stage.steps is None else stage.steps
    return replace(seen, budget=replace(config.budget, steps=steps))


def of_kind(config: FitConfig, kind: str) -> list[str]:
    """Names of the stages of a kind, in order."""
    return [name for name, stage in config.stages.items() if stage.kind == kind]


def stage_overrides(wanted: Sequence[str], there: Sequence[str]) -> list[str]:
    """`stages=[avatar,driver]` as overrides: of the preset's those named, and one of each other kind named, after it.

    Raises:
        UserError: a new one is no kind, or the preset's stand in another order.
    """
    new = [name for name in wanted if name not in there]
    for name in new:
        if name not in KINDS:
            expected = f"some of {', '.join(dict.fromkeys((*there, *KINDS)))}"
            raise UserError("stages", repr(name), expected, "correct it")
    order = [name for name in there if name in wanted] + new
    if order != list(wanted):
        raise UserError("stages", ", ".join(wanted), f"{', '.join(order)}, in this order", "correct it")
    dropped = [f"~stages.{name}" for name in there if name not in wanted]
    return dropped + [f"+stages={{{name}:{{kind:{name}}}}}" for name in new]


def check_stages(config: FitConfig) -> None:
    """
    Raises:
        UserError: there are none, or a mistake in one.
    """
    if not config.stages:
        raise UserError("stages", "none", f"at least one, of kind {', '.join(KINDS)}", "name one")
    for name, stage in config.stages.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise UserError("stages", repr(name), "a name of small letters, digits and _", "rename it")
        if stage.kind not in KINDS:
            raise UserError(f"stages.{name}.kind", repr(stage.kind), f"one of {', '.join(KINDS)}", "correct it")
    processes = config.trainer.processes
    if processes > 1 and len(config.stages) > 1:
        found = f"{len(config.stages)} stages for {processes} processes"
        raise UserError("stages", found, "one, whose steps they share", "give one, or trainer.devices=1")
    if processes > 1 and of_kind(config, "pretrained"):
        found, expected = f"{processes} processes", "1: what is pretrained does not share its steps"
        raise UserError("trainer.devices", found, expected, "use it for an avatar or a driver")
    if of_kind(config, "avatar") and config.budget.frames_per_step % processes:
        found, expected = str(config.budget.frames_per_step), f"a multiple of {processes} processes"
        raise UserError("budget.frames_per_step", found, expected, "raise it, or use fewer trainer.devices")
    if config.trainer.precision != "32" and {stage.kind for stage in config.stages.values()} == {"avatar"}:
        found, expected = config.trainer.precision, "32: an avatar's networks are small, its vertices need the digits"
        raise UserError("trainer.precision", found, expected, "use it for drivers and experiment=syncnet")
