"""What makes a run the one it is: what its stages use and what differs from the defaults. Hence its name."""

import hashlib
import json
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from talkingavatar.config.family_options import OPTIONS
from talkingavatar.config.schema import SCHEMA, FitConfig
from talkingavatar.errors import UserError

# Sections and keys that decide what a stage comes to, by its kind; what stands nowhere here says how and where.
ALWAYS = ("experiment", "family", "stages", "seed", "data", "budget")
USED = {
    "avatar": ("body", "audio", "renderer", "density", "loss", "method", "metrics"),
    "pretrained": ("pretrained", "trainer.precision"),
    "driver": ("body", "audio", "driver", "trainer.precision"),
}
NOT_USED = ("data.cache_mb",)


def run_name(config: FitConfig) -> str:
    """Readable prefix and a hash of all that decides the result, never of the clock.

    A field that is new, or that no stage uses, renames no run as long as nobody sets it.
    """
    digest = hashlib.sha256(json.dumps(identity(config), sort_keys=True).encode()).hexdigest()[:8]
    return f"{config.experiment}-{config.budget.name}-s{config.seed}-{digest}"


def differences(a: FitConfig, b: FitConfig) -> list[str]:
    """Dotted keys whose values differ between two configurations, among those that decide the result."""
    of_a, of_b = identity(a), identity(b)
    keys = sorted(of_a.keys() | of_b.keys())
    return [key for key in keys if key not in of_a or key not in of_b or of_a[key] != of_b[key]]


def check_schema(run: Path, found: object) -> None:
    """
    Raises:
        UserError: the configuration in a run directory is of another schema than ours.
    """
    if found != SCHEMA:
        told = "no schema" if found is None else f"schema {found}"
        action = "fit it anew: the same command with run.fresh=true, or another run.path"
        raise UserError("run", f"{run}: a configuration of {told}", f"schema {SCHEMA}", action)


def identity(config: FitConfig) -> dict[str, Any]:
    """Dotted keys and values of all that decides the result and differs from the schema's defaults."""
    used = [*ALWAYS, *(section for stage in config.stages.values() for section in USED[stage.kind])]
    default = type(config)()
    for section in OPTIONS:
        setattr(default, section, _plain(getattr(config, section)))
    changed = _changed(config, default, "")
    decides = {key: v for key, v in changed.items() if _within(key, used) and not _within(key, NOT_USED)}
    return decides | {"stages": list(config.stages)}  # in their order


def _plain(section: Any) -> Any:
    """A section's defaults, among them those of the options that its method or driver declares."""
    plain = type(section)()
    kind = next((name for name in OPTIONS if isinstance(section, type(getattr(FitConfig(), name)))), "")
    declared = OPTIONS.get(kind, {}).get(getattr(section, "name", ""))
    if declared is not None:
        plain.options = asdict(declared())
    return plain


def _within(key: str, sections: list[str] | tuple[str, ...]) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def _changed(value: Any, default: Any, key: str) -> dict[str, Any]:
    """What differs from the default; of a table or a stage, that there is a row or section, be all in it default."""
    rows: dict[str, Any] = {}
    if is_dataclass(value):
        rows = {key.removesuffix("."): ""} if default is None else {}  # a section of a stage's own
        plain = _plain(value) if default is None else default
        pairs = [(f.name, getattr(value, f.name), getattr(plain, f.name)) for f in fields(value)]
    elif isinstance(value, dict):
        rows = {f"{key}{name}": "" for name, row in value.items() if is_dataclass(row)}
        pairs = [
            (name, row, type(row)() if f"{key}{name}" in rows else default.get(name)) for name, row in value.items()
        ]
    else:
        return {} if value == default else {key.removesuffix("."): value}
    return rows | {k: v for name, inner, known in pairs for k, v in _changed(inner, known, f"{key}{name}.").items()}
