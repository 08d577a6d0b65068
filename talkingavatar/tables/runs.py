"""Run directories as they lie on disk, finished or half written; nothing here imports torch."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from talkingavatar.config.identity import check_schema
from talkingavatar.config.listing import family_of
from talkingavatar.config.schema import DataConfig
from talkingavatar.data.sources import SOURCES
from talkingavatar.errors import UserError
from talkingavatar.runtime.readers import Unreadable, is_number, read_json, read_yaml

STATES = ("finished", "running", "waiting", "preempted", "failed", "unknown")
MARKS = ("config.yaml", "status.json", "provenance.json")  # what makes a folder a run directory
NOT_COMPARED = ("run.", "tracking.")  # keys that say where a run lies and who watches it
PARTS = {"metrics": dict, "skipped": dict, "frames": list, "condition": str}  # of a summary, and of what it measured
QUIET = 3600.0  # seconds without a sign after which a running run is said to be silent


@dataclass(frozen=True)
class Run:
    """What a report needs of one run directory. What could not be read is named in `problems`."""

    path: Path
    state: str  # of STATES
    detail: str  # progress, or the last line of the error
    config: Mapping[str, str] = field(default_factory=dict)  # dotted keys, values as text
    summary: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)  # of the last start
    starts: int = 0
    subject: str = "unknown"
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def experiment(self) -> str:
        return self.config.get("experiment", "unknown")

    @property
    def family(self) -> str:
        return self.config.get("family", "unknown")

    @property
    def kinds(self) -> set[str]:
        """Of its stages."""
        return {kind for key, kind in self.config.items() if key.startswith("stages.") and key.endswith(".kind")}

    @property
    def seed(self) -> int:
        text = self.config.get("seed", "0")
        return int(text) if text.lstrip("-").isdecimal() else 0

    @property
    def commit(self) -> str:
        commit = str(self.provenance.get("commit") or "")[:7]
        return f"{commit or 'unknown'}{'+' * bool(self.provenance.get('dirty'))}"

    @property
    def device(self) -> str:
        return str(self.provenance.get("device", "unknown"))

    @property
    def wall_s(self) -> float | None:
        """Seconds of work over all starts, known at the end."""
        found = self.summary.get("wall_s")
        return float(found) if is_number(found) else None

    @property
    def status(self) -> str:
        """State and detail in one phrase."""
        return f"{self.state}: {self.detail}" if self.detail else self.state


def find_runs(folder: Path) -> list[Path]:
    """The run directories in a folder, or one level below; sorted by name.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError("sweep", f"{folder}: no such folder", "a folder of run directories", "see --help")
    found = []
    for child in _folders(folder):
        found += [child] if is_run(child) else [inner for inner in _folders(child) if is_run(inner)]
    return found


def is_run(folder: Path) -> bool:
    return any((folder / mark).is_file() for mark in MARKS)


def refuse_another_schema(path: Path) -> None:
    """
    Raises:
        UserError: the run is of another schema than ours; not one whose configuration cannot be read at all.
    """
    if tree := _read(path / "config.yaml", [], dict):
        check_schema(path, tree.get("schema"))


def _config(path: Path, problems: list[str]) -> dict[str, str]:
    """Dotted keys of a run's configuration; none where it is of another schema, whose keys may mean something else."""
    tree = _read(path / "config.yaml", problems, dict, required=True)
    try:
        if tree:
            check_schema(path, tree.get("schema"))
    except UserError as error:
        problems.append(str(error))
        return {}
    return flat(tree)


def _folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir())


def read_run(path: Path, now: float | None = None) -> Run:
    """A run directory; a file that is missing or broken leaves its part empty and is named."""
    problems: list[str] = []
    config = _config(path, problems)
    status = _read(path / "status.json", problems, dict)
    summary = _read(path / "summary.json", problems, dict)
    problems += [f"summary.json cannot be read whole: another {name}" for name in _odd(summary)]
    starts = [start for start in _read(path / "provenance.json", problems, list) if isinstance(start, dict)]
    state, detail = _state(status, summary, time.time() if now is None else now)
    last = starts[-1] if starts else {}
    subject = _subject(config, last)
    return Run(path, state, detail, config, summary, last, len(starts), subject, tuple(problems))


def not_started(path: Path, state: str, detail: str, overrides: Iterable[str]) -> Run:
    """A run that was submitted and has left nothing on disk yet: known by its overrides."""
    pairs = (text.lstrip("+").partition("=") for text in overrides)
    config = {"data.name": DataConfig.name} | {key: value for key, _, value in pairs}
    config["family"] = config.get("family") or family_of(config.get("experiment", "unknown"))
    return Run(path, state, detail, config, subject=_subject(config, {}))


def _read(file: Path, problems: list[str], kind: type, required: bool = False) -> Any:
    """The dict or list that a JSON or YAML file holds; an empty one where it is missing or broken."""
    try:
        return read_json(file, kind, "") if file.suffix == ".json" else read_yaml(file, "")
    except FileNotFoundError:
        problems += [f"{file.name} is missing"] if required else []
    except Unreadable as error:
        problems.append(f"{file.name} cannot be read: {error.found}")
    return kind()


def _odd(summary: Mapping[str, Any]) -> list[str]:
    """What in a summary is not as `fit` writes it, by name; what is not there was not measured."""
    measured = summary.get("measured", [])
    parts = measured if isinstance(measured, list) and all(isinstance(part, dict) for part in measured) else None
    odd = ["measured"] if parts is None else []
    for part in (summary, *(parts or [])):
        odd += [name for name, kind in PARTS.items() if name in part and not isinstance(part[name], kind)]
        numbers = part["metrics"].values() if isinstance(part.get("metrics"), dict) else ()
        odd += ["metrics"] * any(not isinstance(value, int | float) for value in numbers)
    return list(dict.fromkeys(odd))


def _state(status: Mapping[str, Any], summary: Mapping[str, Any], now: float) -> tuple[str, str]:
    state = str(status.get("state") or summary.get("status") or "unknown")
    state = state if state in STATES else "unknown"
    step, steps = status.get("step", summary.get("steps")), status.get("steps")
    progress = "" if step is None else f"step {step}" + (f" of {steps}" if steps else "")
    if state == "failed":
        lines = [line for line in str(status.get("error", "")).splitlines() if line.strip()]
        return state, lines[-1].strip() if lines else "without a word"
    if state == "running":
        wrote = status.get("time")
        quiet = now - wrote if is_number(wrote) else 0.0
        silent = f", no sign for {duration(quiet)}" if quiet > QUIET else ""
        return state, progress + silent
    return state, progress if state == "preempted" else ""


def _subject(config: Mapping[str, str], start: Mapping[str, Any]) -> str:
    """Who was fitted, under the name `evaluate` gives."""
    source, identity = SOURCES.get(config.get("data.name", "")), config.get("data.identity", "0")
    if source is None or not identity.isdecimal():
        return "unknown"
    data = DataConfig(path=config.get("data.path"), identity=int(identity))
    return source.title(data, Path(str(start.get("cwd", ".")))) or "unknown"


def flat(tree: Any, prefix: str = "") -> dict[str, str]:
    """Dotted keys of a configuration, values as text."""
    found: dict[str, str] = {}
    for key, value in tree.items() if isinstance(tree, dict) else ():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            found[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return found


def config_diff(first: Run, other: Run) -> list[tuple[str, str, str]]:
    """Keys in which a run's configuration differs from the first's: (key, there, here); a dash where it has none."""
    keys = sorted(first.config.keys() | other.config.keys())
    pairs = ((key, first.config.get(key, "–"), other.config.get(key, "–")) for key in keys)
    return [pair for pair in pairs if pair[1] != pair[2] and not pair[0].startswith(NOT_COMPARED)]


def duration(seconds: float) -> str:
    """As a person says it: 42 s, 3 min 14 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def counts(runs: Iterable[Run]) -> str:
    """How many there are of each state."""
    states = [run.state for run in runs]
    return ", ".join(f"{states.count(state)} {state}" for state in STATES if state in states)
