"""Sweep files in the shape of W&B's, so that `wandb sweep` takes the same file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from talkingavatar.config.compose import suggestion
from talkingavatar.config.quoting import hydra_text
from talkingavatar.errors import UserError
from talkingavatar.launch.parameters import Choice, Distribution, distribution
from talkingavatar.paths import shipped

PROGRAM = "talkingavatar.fit"
KEYS = ("program", "name", "description", "project", "entity", "method", "metric", "run_cap", "parameters", "command")
OTHERS = ("early_terminate", "controller", "apiVersion", "kind")  # W&B's own, of no meaning without its server
METHODS = ("grid", "random")
PARAMETER_KEYS = ("value", "values", "probabilities", "distribution", "min", "max", "mu", "sigma", "q")


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
            override = _parse(text)
            key = override.key_or_group
            values = tuple(override.sweep_string_iterator()) if override.is_sweep_override() else None
            if key in parameters:
                constant = values is None and getattr(parameters[key], "constant", False)
                parameters[key] = Choice(values or (text.partition("=")[2],), constant=constant)
            elif values is not None:
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
    for key in content:
        if key not in (*KEYS, *OTHERS):
            raise UserError(f"{file}: {key}", "an unknown key", f"one of {', '.join(KEYS)}", suggestion(key, KEYS))
    method = content.get("method", "nothing")
    if method not in METHODS:
        instead = f"for a Bayesian search run `wandb sweep {file}`, it needs W&B's server"
        raise UserError(
            f"{file}: method", str(method), " or ".join(METHODS),
            instead if method == "bayes" else suggestion(str(method), METHODS),
        )  # fmt: skip
    parameters = content.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise UserError(f"{file}: parameters", "none: an empty grid", "what to vary", "e.g. seed: {values: [0, 1]}")
    metric = content.get("metric") or {}
    return Sweep(
        name=file.stem,
        file=file,
        method=method,
        parameters={key: _parameter(file, key, spec, method) for key, spec in parameters.items()},
        run_cap=content.get("run_cap"),
        fixed=_fixed(file, content),
        metric=metric.get("name") if isinstance(metric, dict) else None,
    )


def find_sweep(given: Path) -> Path:
    """The file that is meant: as given, or by its bare name, `.yaml` or not, one that comes with the package."""
    known = shipped("sweeps") / f"{given.name.removesuffix('.yaml')}.yaml"
    return known if given.name == str(given) and not given.exists() and known.is_file() else given


def _load(file: Path) -> dict[str, Any]:
    try:
        content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except OSError as error:
        known = sorted(path.stem for path in shipped("sweeps").glob("*.yaml"))
        expected = f"a sweep file, or one of {', '.join(known)}"
        raise UserError("sweep", f"{file}: {error.strerror}", expected, suggestion(file.stem, known)) from error
    except Exception as error:  # PyYAML's errors have no common base that OmegaConf passes on
        line = " ".join(str(error).split())
        raise UserError(str(file), line, "YAML in the shape of a W&B sweep", "correct it") from error
    if not isinstance(content, dict):
        raise UserError(str(file), "no mapping", "YAML in the shape of a W&B sweep", "see sweeps/ for some")
    return {str(key): value for key, value in content.items()}


def _parameter(file: Path, key: str, spec: Any, method: str) -> Choice | Distribution:
    field = f"{file}: parameters.{key}"
    if not isinstance(spec, dict) or "parameters" in spec:
        raise UserError(field, repr(spec), "{values: [...]}", "write nested keys with dots: data.identity")
    for name in spec:
        if name not in PARAMETER_KEYS:
            expected = f"some of {', '.join(PARAMETER_KEYS)}"
            raise UserError(field, repr(name), expected, suggestion(str(name), PARAMETER_KEYS))
    if "value" in spec:
        return Choice((hydra_text(spec["value"]),), constant=True)
    if "values" in spec:
        values = spec["values"]
        if not isinstance(values, list) or not values:
            raise UserError(field, f"values: {values}: an empty grid", "a list of values", "give at least one")
        odds = spec.get("probabilities")
        if odds is not None and len(odds) != len(values):
            raise UserError(field, f"{len(odds)} probabilities", f"{len(values)}, as values", "correct it")
        texts = [hydra_text(value) for value in values]
        return Choice(tuple(texts) if odds else tuple(dict.fromkeys(texts)), tuple(odds) if odds else None)
    if method == "grid":
        raise UserError(field, "a distribution", "values: a grid has no other", "list values, or method: random")
    return distribution(field, spec)


def _fixed(file: Path, content: dict[str, Any]) -> tuple[str, ...]:
    """The overrides that the command itself carries, beside W&B's placeholders."""
    command = [str(word) for word in content.get("command") or []]
    if content.get("program") != PROGRAM or "${args_no_hyphens}" not in command:
        raise UserError(
            f"{file}: program, command", f"{content.get('program')}, {' '.join(command) or 'none'}",
            f"{PROGRAM}, [${{env}}, ${{interpreter}}, -m, ${{program}}, ${{args_no_hyphens}}]",
            "copy them from sweeps/",
        )  # fmt: skip
    return tuple(word for word in command if "=" in word)


def _parse(text: str) -> Override:
    try:
        return OverridesParser.create().parse_overrides([text])[0]
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError("override", repr(text), "key=value", "see --help for examples") from error
