"""Sweep files in the shape of W&B's, so that `wandb sweep` takes the same file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from talkingavatar.config.compose import parse_override
from talkingavatar.config.keys import kind_of
from talkingavatar.config.listing import group_options
from talkingavatar.config.names import suggestion
from talkingavatar.config.quoting import hydra_text, split, unquoted
from talkingavatar.config.yaml_file import read_yaml
from talkingavatar.errors import UserError
from talkingavatar.launch.parameters import Choice, Distribution, distribution, is_number
from talkingavatar.paths import shipped
from talkingavatar.runtime.command import warn

PROGRAM = "talkingavatar.fit"
KEYS = ("program", "name", "description", "method", "metric", "run_cap", "parameters", "command")
FORM = ("apiVersion", "kind")  # of W&B's, which say that the file is a sweep
SERVER = ("project", "entity", "early_terminate", "controller", "scheduler", "job", "image_uri", "metrics")  # W&B's
METHODS = ("grid", "random")
PARAMETER_KEYS = ("value", "values", "probabilities", "distribution", "min", "max", "mu", "sigma", "q", "a", "b")


@dataclass(frozen=True)
class Sweep:
    """A sweep file with what the command line changed of it."""

    name: str
    file: Path
    method: str
    parameters: dict[str, Choice | Distribution]
    run_cap: int | None = None
    fixed: tuple[str, ...] = ()  # overrides of every run
    metric: str | None = None

    def with_overrides(self, overrides: Sequence[str]) -> Sweep:
        """Fixed overrides of every run; one of a swept parameter (`seed=0,1`) replaces its values.

        Raises:
            UserError: not of the form key=value, or several values of what the file does not sweep.
        """
        parameters, fixed = dict(self.parameters), list(self.fixed)
        for text in overrides:
            key, values = _values(text)
            if key in parameters:
                constant = len(values) == 1 and getattr(parameters[key], "constant", False)
                parameters[key] = Choice(values, constant=constant)
            elif len(values) > 1:
                raise UserError(
                    key, f"{len(values)} values", "one value, or a parameter of the sweep file",
                    f"add it to {self.file}",
                )  # fmt: skip
            else:
                fixed.append(text)
        return replace(self, parameters=parameters, fixed=tuple(fixed))


def read_sweep(file: Path) -> Sweep:
    """
    Raises:
        UserError: no such file, or it is no sweep of fits.
    """
    content = _load(file)
    _check_keys(file, content)
    method = str(content.get("method", "nothing"))
    if method not in METHODS:
        instead = f"for a Bayesian search run `wandb sweep {file}`, it needs W&B's server"
        raise UserError(
            f"{file}: method", method, " or ".join(METHODS),
            instead if method == "bayes" else suggestion(method, METHODS),
        )  # fmt: skip
    parameters = content.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise UserError(f"{file}: parameters", "none: an empty grid", "what to vary", "e.g. seed: {values: [0, 1]}")
    metric = content.get("metric") or {}
    return Sweep(
        name=file.stem,
        file=file,
        method=method,
        parameters={key: _parameter(file, key, spec, method) for key, spec in _flat(file, parameters).items()},
        run_cap=_run_cap(file, content.get("run_cap")),
        fixed=_fixed(file, content),
        metric=metric.get("name") if isinstance(metric, dict) else None,
    )


def _check_keys(file: Path, content: dict[str, Any]) -> None:
    known = (*KEYS, *FORM, *SERVER)
    for key in content:
        if key not in known:
            raise UserError(
                f"{file}: {key}", "an unknown key", f"one of {', '.join(KEYS)}", suggestion(str(key), known)
            )
    if ignored := [key for key in SERVER if key in content]:
        hint = "; a run's project is tracking.project" if "project" in ignored else ""
        warn(f"{file}: {', '.join(ignored)}: for `wandb sweep` alone, left out here{hint}")


def find_sweep(given: Path) -> Path:
    """The file that is meant: as given, or by its bare name, `.yaml` or not, one that comes with the package."""
    known = shipped("sweeps") / f"{given.name.removesuffix('.yaml')}.yaml"
    return known if given.name == str(given) and not given.exists() and known.is_file() else given


def _load(file: Path) -> dict[str, Any]:
    if not file.is_file():
        known = sorted(path.stem for path in shipped("sweeps").glob("*.yaml"))
        found = f"{file}: a folder" if file.is_dir() else f"{file}: no such file"
        expected = f"a sweep file, or one of {', '.join(known)}"
        raise UserError("sweep", found, expected, suggestion(file.stem, known))
    return read_yaml(file, "a W&B sweep, see sweeps/ for some")


def _flat(file: Path, parameters: dict[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Parameters by dotted keys; W&B nests them: `budget: {parameters: {steps: ...}}`."""
    found: dict[str, Any] = {}
    for name, spec in parameters.items():
        key = f"{prefix}{name}"
        if isinstance(spec, dict) and spec.keys() == {"parameters"} and isinstance(spec["parameters"], dict):
            inner = _flat(file, spec["parameters"], f"{key}.")
        else:
            inner = {key: spec}
        if twice := inner.keys() & found.keys():
            raise UserError(f"{file}: parameters.{min(twice)}", "it twice", "each parameter once", "remove one")
        found |= inner
    return found


def _parameter(file: Path, key: str, spec: Any, method: str) -> Choice | Distribution:
    field = f"{file}: parameters.{key}"
    if not isinstance(spec, dict):
        several = "values" if isinstance(spec, list) else "value"
        raise UserError(
            field, repr(spec), "{value: ...} or {values: [...]}", f"write {{{several}: {hydra_text(spec)}}}"
        )
    if "parameters" in spec:
        raise UserError(field, repr(spec), "{values: [...]}", "write nested keys with dots: data.identity")
    for name in spec:
        if name not in PARAMETER_KEYS:
            expected, action = f"some of {', '.join(PARAMETER_KEYS)}", suggestion(str(name), PARAMETER_KEYS)
            otherwise = f"for a mapping write {{value: {{{name}: ...}}}}, for a nested key {key}.{name}"
            raise UserError(field, repr(name), expected, action if "mean" in action else otherwise)
    if "value" in spec:
        return Choice((hydra_text(spec["value"]),), constant=True)
    if "values" in spec:
        values = spec["values"]
        if not isinstance(values, list) or not values:
            raise UserError(field, f"values: {values}: an empty grid", "a list of values", "give at least one")
        odds = _odds(field, spec.get("probabilities"), len(values))
        texts = [hydra_text(value) for value in values]
        return Choice(tuple(texts) if odds else tuple(dict.fromkeys(texts)), tuple(odds) if odds else None)
    if method == "grid":
        raise UserError(field, "a distribution", "values: a grid has no other", "list values, or method: random")
    return distribution(field, spec)


def _odds(field: str, odds: Any, count: int) -> list[float] | None:
    """How often each value is drawn, where the file says."""
    if odds is None:
        return None
    if not isinstance(odds, list) or len(odds) != count:
        found = f"{len(odds)} probabilities" if isinstance(odds, list) else f"probabilities: {odds}"
        raise UserError(field, found, f"{count}, as values", "correct it")
    if not all(is_number(each) and each >= 0 for each in odds) or not sum(odds):
        raise UserError(field, f"probabilities: {odds}", "numbers from 0, not all 0", "correct it")
    return odds


def _run_cap(file: Path, given: Any) -> int | None:
    if given is not None and (not isinstance(given, int) or isinstance(given, bool) or given < 1):
        raise UserError(f"{file}: run_cap", repr(given), "a whole number, at least 1", "correct it")
    return given


def _values(text: str) -> tuple[str, tuple[str, ...]]:
    """Key and values of an override, each as Hydra writes it; of a text, several only where no file has that name."""
    key, _, value = text.partition("=")
    whole = kind_of(key.lstrip("+~")) in (str, str | None) and key not in group_options()
    if whole and not os.path.exists(value):  # noqa: PTH110
        parts = [unquoted(part) for part in split(value)]
        return key, tuple("null" if part == "null" else hydra_text(part) for part in parts)
    override = parse_override(text, several=True)
    several = override.is_sweep_override()
    return key, tuple(override.sweep_string_iterator()) if several else (override.get_value_element_as_str(),)


def _fixed(file: Path, content: dict[str, Any]) -> tuple[str, ...]:
    """The overrides that the command itself carries, beside W&B's placeholders."""
    given = content.get("command") or []
    command = [str(word) for word in given] if isinstance(given, list) else [repr(given)]
    if content.get("program") != PROGRAM or "${args_no_hyphens}" not in command:
        raise UserError(
            f"{file}: program, command", f"{content.get('program')}, {' '.join(command) or 'none'}",
            f"{PROGRAM}, [${{env}}, ${{interpreter}}, -m, ${{program}}, ${{args_no_hyphens}}]",
            "copy them from sweeps/",
        )  # fmt: skip
    return tuple(word for word in command if "=" in word)
