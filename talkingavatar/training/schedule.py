"""Start steps and learning rates, from a paper's table to a budget."""

import math
from dataclasses import dataclass

from talkingavatar.config.schema import BudgetConfig, DriverConfig, MethodConfig, RateConfig
from talkingavatar.errors import UserError

RULES = ("fixed", "travel", "visits")


@dataclass(frozen=True)
class Schedule:
    """One group's rate over a run: nothing before `start`, then log-linear from `lr` to `lr_end` at its last step."""

    start: int
    lr: float
    lr_end: float
    steps: int  # the last one, or the one from which the group is frozen again
    stops: bool = False

    def rate(self, step: int) -> float:
        """Learning rate of a step, 0 while the group is frozen."""
        if step < self.start or (self.stops and step >= self.steps):
            return 0.0
        share = min(1.0, (step - self.start) / max(1, self.steps - self.start))
        return self.lr * (self.lr_end / self.lr) ** share


def scale_step(step: int, method: MethodConfig | DriverConfig, budget: BudgetConfig) -> int:
    """A step of the run that the method's paper describes, in this budget."""
    return round(step * budget.steps / method.paper_steps)


def of_one_group(
    table: dict[str, RateConfig], field: str, group: str, budget: BudgetConfig, paper_steps: int
) -> Schedule:
    """Of a module whose parameters are all in one group: its row, the rates as they stand.

    Args:
        field: of the table.
        paper_steps: that its start is written for.

    Raises:
        UserError: there is another row or none, or a rate is not positive.
    """
    if set(table) != {group}:
        raise UserError(field, ", ".join(table) or "nothing", f"one row, {group}", "correct it")
    row = table[group]
    if row.lr <= 0 or row.lr_end <= 0:
        raise UserError(f"{field}.{group}.lr", f"{row.lr}, {row.lr_end}", "positive rates", "correct it")
    return Schedule(round(row.start * budget.steps / paper_steps), row.lr, row.lr_end, budget.steps)


def scaled(name: str, method: MethodConfig, budget: BudgetConfig, train_frames: int, slack: float = 1.0) -> Schedule:
    """A row of the table in this budget. The rules are derived beside the table, in conf/method/thgs.yaml.

    `slack` scales the limit of the "visits" rule (`data.pose_slack`).

    Raises:
        UserError: the rule is unknown or a rate is not positive.
    """
    field, row = f"method.schedule.{name}", method.schedule[name]
    if row.rule not in RULES:
        raise UserError(f"{field}.rule", repr(row.rule), f"one of {', '.join(RULES)}", "correct it")
    if row.lr <= 0 or row.lr_end <= 0:
        raise UserError(f"{field}.lr", f"{row.lr}, {row.lr_end}", "positive rates", "correct it")
    factor = {
        "fixed": 1.0,
        "travel": method.paper_steps / budget.steps,
        "visits": method.paper_visits * train_frames / (budget.steps * budget.frames_per_step),
    }[row.rule]
    # Between two visits Adam carries a row on, over about sqrt(frames) times the rate: the second moment, too, is
    # fed on visits only. What is limited is the way of one visit.
    limit = slack * row.limit / math.sqrt(train_frames) if row.rule == "visits" else row.limit
    factor = min(max(factor, 1.0), max(1.0, limit / row.lr))
    # Poses that are corrected against a picture that is not there yet are led astray: the paper waits 1,500 steps.
    start = max(scale_step(row.start, method, budget), min(budget.warmup, row.start))
    steps = budget.steps if row.stop is None else scale_step(row.stop, method, budget)
    return Schedule(start, row.lr * factor, row.lr_end * factor, steps, row.stop is not None)
