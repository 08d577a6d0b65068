"""What `list` and `status` print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from talkingavatar.launch.expansion import Job
from talkingavatar.launch.progress import duration
from talkingavatar.launch.state import STATES, JobState

SHOWN = 40  # lines of a long sweep; what runs, failed or was preempted comes first
ORDER = ("failed", "running", "preempted", "waiting", "done")


def listing(jobs: Sequence[Job], shown: int = SHOWN) -> str:
    """One line a run: its name and what it overrides."""
    width = max(len(job.name) for job in jobs)
    lines = [f"{job.name:<{width}}  {' '.join(job.overrides)}" for job in jobs[:shown]]
    return "\n".join([*lines, *_rest(len(jobs), shown)])


def status_table(states: Sequence[JobState], shown: int = SHOWN) -> str:
    """One line a run, then the counts."""
    ordered = sorted(states, key=lambda s: ORDER.index(s.state))
    width = max(len(state.job.name) for state in states)
    lines = [f"{state.job.name:<{width}}  {_told(state)}".rstrip() for state in ordered[:shown]]
    return "\n".join([*lines, *_rest(len(states), shown), counts(states)])


def counts(states: Sequence[JobState]) -> str:
    """How many runs are in which state, and how long the running ones still take."""
    found = Counter(state.state for state in states)
    told = ", ".join(f"{found[name]} {name}" for name in STATES if found[name])
    left = [state.seconds_left for state in states if state.seconds_left is not None]
    share = sum(state.share for state in states) / len(states)
    return f"{told}; {share:.0%} of {len(states)} runs" + (
        f"; running ones end in {duration(max(left))}" if left else ""
    )


def _told(state: JobState) -> str:
    parts = [f"{state.state:<9}"]
    if state.state in ("running", "preempted") and state.steps:
        parts.append(f"{state.step}/{state.steps}")
    if state.seconds_left is not None:
        parts.append(f"{duration(state.seconds_left)} left")
    parts += [text for text in (state.where, state.error) if text]
    return "  ".join(parts)


def _rest(count: int, shown: int) -> list[str]:
    return [f"... and {count - shown} more (all=true shows them)"] if count > shown else []
