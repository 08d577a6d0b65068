"""What stands in a table for each run: what `evaluate` measured, the fit's own summary, or why there is nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from talkingavatar.config.protocol import Protocol
from talkingavatar.metrics.result_file import read_result
from talkingavatar.runtime.readers import Unreadable, is_number
from talkingavatar.tables.runs import Run

Measured = dict[str, dict[str, Any]]  # results by condition
NOT_VARIED = ("seed", "data.identity", "data.path", "run.", "tracking.", "trainer.")  # keys that make no other row
VARIED = 4  # differing keys in a row's name
LISTED = 24  # run directories in a command
ELSEWHERE = ("results.json", "tables.json")  # evaluate's own collections


def read_results(run: Run) -> tuple[Run, Measured]:
    """What `evaluate` wrote into a run; the run comes back with what was wrong, and its subject as measured."""
    found: Measured = {}
    problems: list[str] = []
    for file in sorted((run.path / "evaluation").glob("*.json")):
        if file.name in ELSEWHERE:
            continue
        try:
            result = read_result(file)
        except FileNotFoundError:
            continue  # removed since
        except Unreadable as error:
            problems.append(f"evaluation/{file.name} cannot be read: {error.found}")
            continue
        result["metrics"] = {key: value for key, value in result["metrics"].items() if _is_number(value)}
        found[result["condition"]] = result
    step = run.summary.get("steps")
    for condition, result in found.items():
        if step is not None and result.get("steps") not in (None, step):
            problems.append(f"evaluated under '{condition}' at step {result['steps']}, the run is at {step}")
    subject = next((str(r["subject"]) for r in found.values()), run.subject)
    return replace(run, problems=(*run.problems, *problems), subject=subject), found


def _is_number(value: object) -> bool:
    return is_number(value) or (isinstance(value, float) and math.isinf(value))  # as the PSNR of what is the same


def table_results(
    protocol: Protocol, runs: Iterable[tuple[Run, Measured]], variants: Mapping[Path, str] | None = None
) -> list[Mapping[str, Any]]:
    """One for every run and condition that the protocol has a row for; none of what is no avatar.

    Args:
        variants: names for runs that share an experiment and differ otherwise, for rows named after experiments.
    """
    found: list[Mapping[str, Any]] = []
    open_rows = any(not row.label for row in protocol.rows)
    for run, measured in runs:
        if run.kinds == {"pretrained"}:
            continue
        for condition in protocol.conditions_for(run.experiment, run.family):
            own = _own(run, condition)
            result = _filled(run, measured[condition], own) if condition in measured else _stand_in(run, condition, own)
            name = (variants or {}).get(run.path) if open_rows else None
            found.append({**result, "experiment": name} if name else result)
    return found


def variants(runs: Iterable[Run]) -> dict[Path, str]:
    """Names that tell runs of one experiment, subject and seed apart, by what differs within the experiment."""
    named: dict[Path, str] = {}
    by_experiment: dict[str, list[Run]] = {}
    for run in runs:
        by_experiment.setdefault(run.experiment, []).append(run)
    for experiment, group in by_experiment.items():
        if len({(run.subject, run.seed) for run in group}) == len(group):
            continue
        keys = sorted({key for run in group for key in run.config if not key.startswith(NOT_VARIED)})
        varied = [key for key in keys if len({run.config.get(key) for run in group}) > 1]
        for run in group:
            values = (f"{_in_short(key)}={run.config.get(key, '–')}" for key in varied[:VARIED])
            named[run.path] = ", ".join([experiment, *values])
    return named


def _in_short(key: str) -> str:
    """The last part of a key; all of it where that is the name of what seeds are averaged over."""
    last = key.rsplit(".", 1)[-1]
    return key if last in NOT_VARIED else last


def command_for(name: str, results: Iterable[Mapping[str, Any]]) -> str:
    """What would measure the finished runs that were not; empty where all were."""
    paths = list(dict.fromkeys(str(result["measurable"]) for result in results if result.get("measurable")))
    if not paths:
        return ""
    more = f" ... ({len(paths)} runs)" if len(paths) > LISTED else ""
    return f"to measure: python -m talkingavatar.evaluate protocol={name} run={','.join(paths[:LISTED])}{more}"


def _own(run: Run, condition: str) -> list[Mapping[str, Any]]:
    """What the fit itself measured under a condition, under the names of the suite."""
    found = run.summary.get("measured")
    entries = [_mapping(entry) for entry in found] if isinstance(found, list) else []
    return [
        {**entry, "metrics": {key: float(v) for key, v in _mapping(entry.get("metrics")).items() if _is_number(v)}}
        for entry in entries
        if entry.get("condition") == condition
    ]


def _filled(run: Run, result: Mapping[str, Any], own: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """With what `evaluate` did not measure, from what the fit did on the very same frames at the same step."""
    same_step = result.get("steps") in (None, run.summary.get("steps"))
    for entry in own:
        if same_step and entry.get("frames") == result.get("frames"):
            result = {**result, "metrics": {**entry["metrics"], **result["metrics"]}}
    return result


def _stand_in(run: Run, condition: str, own: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The fit's own held-out numbers, else only the reason why there are none."""
    facts: dict[str, Any] = {
        "experiment": run.experiment,
        "family": run.family,
        "seed": run.seed,
        "subject": run.subject,
        "condition": condition,
    }
    facts["measurable"] = run.path if run.state == "finished" else None
    metrics = {key: value for entry in own for key, value in entry["metrics"].items()}
    if not metrics:
        return facts | {"origin": "absent", "metrics": {}, "why": _why(run, condition)}
    counts = [len(entry["frames"]) for entry in own if isinstance(entry.get("frames"), list)]
    split = f"{counts[0]} held-out frames of the fit's own test" if counts else "unknown"
    return facts | {
        "origin": "summary",
        "metrics": metrics,
        "skipped": {key: why for entry in own for key, why in _mapping(entry.get("skipped")).items()},
        "suite": suite if type(suite := _mapping(run.summary.get("definitions")).get("suite")) is int else 0,
        "commit": run.commit,
        "device": run.device,
        "split": split,
        "why": f"not measured: not in the fit's own summary, and not evaluated under '{condition}'",
    }


def _why(run: Run, condition: str) -> str:
    if run.state == "finished":
        return f"not measured: not evaluated under '{condition}'"
    return f"{run.status} ({run.name})"


def _mapping(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}
