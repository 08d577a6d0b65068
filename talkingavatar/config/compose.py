"""From command-line overrides to a checked `FitConfig`; every mistake becomes one clear line."""

import difflib
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from talkingavatar.config.family_options import OPTIONS
from talkingavatar.config.identity import check_schema
from talkingavatar.config.listing import config_dirs, group_options
from talkingavatar.config.schema import CHOICES, INPUTS, MINIMUM, SCHEMA, SOURCES, FitConfig
from talkingavatar.config.stages import check_stages, stage_overrides
from talkingavatar.errors import UserError
from talkingavatar.runtime.readers import Unreadable, read_yaml

ConfigStore.instance().store(name="schema", node=FitConfig)
for section, nodes in OPTIONS.items():
    for name, node in nodes.items():
        ConfigStore.instance().store(group=f"{section}/options", name=name, node=node)


def compose(overrides: Iterable[str]) -> FitConfig:
    """The configuration of a fit.

    Raises:
        UserError: an unknown group option, key or value; the nearest name is suggested.
    """
    groups = group_options()
    texts, parsed = [], [_parse(text) for text in overrides]
    for override in parsed:
        group = groups.get(override.key_or_group)
        texts.append(str(override.input_line) if group is None else _found(override, group))
    chosen = [text for text, override in zip(texts, parsed, strict=True) if override.key_or_group in groups]
    shipped, *own = config_dirs()
    found = _search(own)
    with initialize_config_dir(version_base="1.3", config_dir=str(shipped)):
        raw = _compose(chosen + found)
        if len(chosen) < len(texts):
            known = _flatten(raw)
            for override in parsed:
                if override.key_or_group not in groups and not override.is_add():
                    _check_key(override.key_or_group, known, groups)
            words = [word for given in zip(texts, parsed, strict=True) for word in _stages(*given, raw)]
            raw = _compose(words + found)
    return typed(raw)


def typed(raw: DictConfig) -> FitConfig:
    """Check a raw configuration against the schema."""
    try:
        plain = OmegaConf.to_container(raw)
        assert isinstance(plain, dict)
        merged = OmegaConf.merge(OmegaConf.structured(FitConfig), plain)
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "configuration"
        reason = str(error).splitlines()[0]
        raise UserError(key, reason, "a value of the type in the schema", "correct it") from error
    assert isinstance(config, FitConfig)
    _check_values(config)
    return config


def to_yaml(config: FitConfig) -> str:
    """The resolved configuration as YAML."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def from_yaml(path: Path) -> FitConfig:
    """Read a run's resolved configuration; `run.path` becomes the folder it lies in.

    Raises:
        UserError: it is not there, damaged, or of another schema than ours.
    """
    action = "restore it, or fit anew: the same command with run.fresh=true, or another run.path"
    try:
        tree = read_yaml(path, action)
        check_schema(path.parent, tree.get("schema"))
        config = typed(OmegaConf.create(tree))
    except FileNotFoundError as error:
        found = "no such folder" if not path.parent.is_dir() else f"a folder without {path.name}"
        action = "give a run directory of fit (its last line says which)"
        raise UserError("run", f"{path.parent}: {found}", "the folder of a fitted run", action) from error
    except OmegaConfBaseException as error:
        raise Unreadable(str(path), str(error).splitlines()[0][:120], "a configuration of fit", action) from error
    return replace(config, run=replace(config.run, path=str(path.parent)))


def _parse(text: str) -> Override:
    try:
        override = OverridesParser.create().parse_overrides([text])[0]
    except HydraException as error:
        raise UserError("override", repr(text), "key=value", "see --help for examples") from error
    if override.is_sweep_override():
        action = "give several to `python -m talkingavatar.sweep`"
        raise UserError(override.key_or_group, text.partition("=")[2], "one value", action)
    return override


def _search(folders: list[Path]) -> list[str]:
    """Override by which Hydra looks for presets in more folders."""
    quoted = ["'file://" + str(folder).replace("'", "\\'") + "'" for folder in folders]
    return [f"hydra.searchpath=[{','.join(quoted)}]"] if quoted else []


def _compose(overrides: list[str]) -> DictConfig:
    try:
        raw = hydra_compose(config_name="fit", overrides=overrides, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ or error
        key = getattr(cause, "full_key", None) or "configuration"
        raise UserError(key, str(cause).splitlines()[0], "a valid value", "correct the override") from error
    chosen = raw.hydra.runtime.choices
    with open_dict(raw):
        del raw["hydra"]
    raw.experiment, raw.family = chosen.experiment.replace("/", "_"), chosen.family
    return raw


def _stages(text: str, override: Override, preset: DictConfig) -> list[str]:
    """A list of stages in words that change the preset's."""
    wanted = override.value() if override.key_or_group == "stages" and not override.is_delete() else None
    return stage_overrides([str(name) for name in wanted], list(preset.stages)) if isinstance(wanted, list) else [text]


def _found(override: Override, options: dict[str, str]) -> str:
    """The choice of a preset by its name as one by its place in the group."""
    key = override.key_or_group
    if override.is_delete() or override.package is not None:
        raise UserError(key, str(override.input_line), "a plain choice", f"give {key}=<name>")
    return f"{key}={place_of(key, str(override.value()), options)}"


def place_of(group: str, name: str, options: dict[str, str]) -> str:
    """Of a preset in its group.

    Raises:
        UserError: there is no such preset; the nearest name is suggested.
    """
    if name not in options:
        raise UserError(group, repr(name), f"one of {', '.join(options)}", suggestion(name, options))
    return options[name]


def _check_key(key: str, known: dict[str, Any], groups: Iterable[str]) -> None:
    if key in known or any(name.startswith(key + ".") for name in known):
        return
    names = [*known, *groups]
    raise UserError(key, "an unknown key", "a key of the configuration", suggestion(key, names))


def suggestion(name: str, options: Iterable[str]) -> str:
    """What to do about a name that is not among the options."""
    near = difflib.get_close_matches(name, list(options), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else "see --help"


def _check_values(config: FitConfig) -> None:
    flat = _flatten_dict(asdict(config))
    for key, choices in CHOICES.items():
        if flat[key] not in choices:
            raise UserError(key, repr(flat[key]), f"one of {', '.join(choices)}", suggestion(flat[key], choices))
    for key, least in MINIMUM.items():
        if flat[key] < least:
            raise UserError(key, str(flat[key]), f"at least {least}", "raise it")
    if config.schema != SCHEMA:
        raise UserError("schema", str(config.schema), str(SCHEMA), "leave it: it numbers what this version can read")
    if not 0 < config.data.heldout < 1:
        raise UserError("data.heldout", str(config.data.heldout), "a share between 0 and 1", "e.g. 0.2")
    check_stages(config)
    for name in config.method.silence:
        if name not in INPUTS:
            expected = f"some of {', '.join(INPUTS)}"
            raise UserError("method.silence", repr(name), expected, suggestion(name, INPUTS))
    for key, expected in SOURCES[config.data.name].items():
        if not getattr(config.data, key):
            raise UserError(f"data.{key}", "nothing", expected, f"give data.{key}=...")


def _flatten(config: DictConfig) -> dict[str, Any]:
    merged = OmegaConf.merge(OmegaConf.structured(FitConfig), config)
    container = OmegaConf.to_container(merged)
    assert isinstance(container, dict)
    return _flatten_dict(container)


def _flatten_dict(tree: dict[Any, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat[name] = value if not value else None
            flat.update(_flatten_dict(value, name + "."))
        else:
            flat[name] = value
    return {k: v for k, v in flat.items() if v is not None or not any(o.startswith(k + ".") for o in flat)}
