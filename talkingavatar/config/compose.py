"""From command-line overrides to a checked `FitConfig`; every mistake becomes one clear line."""

import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from talkingavatar.config.checks import check_values
from talkingavatar.config.family_options import OPTIONS
from talkingavatar.config.identity import check_schema
from talkingavatar.config.keys import as_row, as_written, check_key, kind_of
from talkingavatar.config.listing import config_dirs, group_options
from talkingavatar.config.names import suggestion
from talkingavatar.config.protocol import EXTERNAL
from talkingavatar.config.quoting import literal, quoted
from talkingavatar.config.schema import FitConfig
from talkingavatar.config.stages import stage_overrides
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
    texts, parsed = [], [parse_override(text) for text in overrides]
    for override in parsed:
        group = groups.get(override.key_or_group)
        texts.append(str(override.input_line) if group is None else _found(override, group))
    chosen = [text for text, override in zip(texts, parsed, strict=True) if override.key_or_group in groups]
    shipped, *own = config_dirs()
    found = _search(own)
    with initialize_config_dir(version_base="1.3", config_dir=str(shipped)):
        raw = _compose(chosen + found) if found else _shipped(tuple(chosen))
        if len(chosen) < len(texts):
            known = _flatten(raw)
            for override in parsed:
                if override.key_or_group not in groups:
                    check_key(override.key_or_group, override.is_add() or override.is_force_add(), known, groups)
            words = [as_row(word) for given in zip(texts, parsed, strict=True) for word in _stages(*given, raw)]
            raw = _changed(raw, words) or _compose(words + found)
    return typed(raw)


def typed(raw: DictConfig) -> FitConfig:
    """Check a raw configuration against the schema."""
    try:
        plain = OmegaConf.to_container(raw)
        assert isinstance(plain, dict)
        merged = OmegaConf.merge(OmegaConf.structured(FitConfig), plain)
        config = OmegaConf.to_object(merged)
    except (OmegaConfBaseException, ValueError) as error:  # integers that are infinite
        raise refused(error) from error
    assert isinstance(config, FitConfig)
    check_values(config)
    return config


def to_yaml(config: FitConfig) -> str:
    """The resolved configuration as YAML."""
    return OmegaConf.to_yaml(to_raw(config))


def to_raw(config: FitConfig) -> DictConfig:
    """A checked configuration as a raw one, in which no text is an interpolation."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return literal(value) if isinstance(value, str) else value

    raw = OmegaConf.merge(OmegaConf.structured(FitConfig), plain(asdict(config)))
    assert isinstance(raw, DictConfig)
    return raw


def from_yaml(path: Path) -> FitConfig:
    """Read a run's resolved configuration; `run.path` becomes the folder it lies in.

    Raises:
        UserError: it is not there, damaged, or of another schema than ours.
    """
    action = "restore it, or fit anew: the same command with run.fresh=true, or another run.path"
    try:
        tree = read_yaml(path, action)
        check_schema(path.parent, tree.get("schema"))
        if tree.get("family") == EXTERNAL:
            raise UserError(
                "run", f"{path.parent}: a video that others rendered", "a run of fit",
                "only evaluate and report know what to do with it",
            )  # fmt: skip
        config = typed(OmegaConf.create(_as_fitted(tree)))
    except FileNotFoundError as error:
        found = "no such folder" if not path.parent.is_dir() else f"a folder without {path.name}"
        action = "give a run directory of fit (its last line says which)"
        raise UserError("run", f"{path.parent}: {found}", "the folder of a fitted run", action) from error
    except OmegaConfBaseException as error:
        raise Unreadable(str(path), str(error).splitlines()[0][:120], "a configuration of fit", action) from error
    return replace(config, run=replace(config.run, path=str(path.parent)))


def _as_fitted(tree: dict[str, Any]) -> dict[str, Any]:
    """A run's configuration where it says nothing of what came later: with that it would not be what it has learned."""
    data, method = tree.get("data"), tree.get("method")
    if isinstance(data, dict):
        data.setdefault("shape_shift", False)
    options = method.get("options") if isinstance(method, dict) else None
    if isinstance(options, dict) and "deform" in options:
        options.setdefault("behind", 0.0)
    return tree


def parse_override(text: str, several: bool = False) -> Override:
    """An override in Hydra's words; texts and paths are taken as they are written.

    Args:
        several: whether it may stand for several values.

    Raises:
        UserError: it is none.
    """
    key, equals, value = text.partition("=")
    if not (equals or key.startswith("~")) or not key.strip("+~") or re.search("[\ud800-\udfff]", text):  # no UTF-8
        raise UserError("override", repr(text), "key=value", "see --help for examples")
    bare = key.lstrip("+~")
    written = text if bare in group_options() else as_written(text)
    try:
        override = OverridesParser.create().parse_overrides([written])[0]
    except (HydraException, OmegaConfBaseException) as error:
        raise _unreadable(bare, value) from error
    if override.is_sweep_override() and not several:
        action = "give several to `python -m talkingavatar.sweep`"
        raise UserError(override.key_or_group, value, "one value", action)
    return override


def _unreadable(key: str, value: str) -> UserError:
    """Of a value that Hydra's grammar does not take."""
    groups = group_options()
    if key in groups:
        return UserError(key, repr(value), f"one of {', '.join(groups[key])}", suggestion(value, groups[key]))
    kind = kind_of(key)
    if kind is None:
        names = [*_flatten_dict(asdict(FitConfig())), *groups]
        return UserError(key, "an unknown key", "a key of the configuration", suggestion(key, names))
    expected = f"a value of type {getattr(kind, '__name__', kind)}"
    return UserError(key, repr(value), expected, "correct it; see --help for examples")


def refused(error: Exception, field: str = "configuration") -> UserError:
    """What OmegaConf refuses, as one line; `field` is where, if it does not tell."""
    key = getattr(error, "full_key", None) or field
    parent = getattr(error, "parent_node", None)
    if isinstance(error, ConfigKeyError | ConfigAttributeError) and isinstance(parent, DictConfig):
        names = [str(name) for name in parent]
        return UserError(key, "an unknown key", f"one of {', '.join(names)}", suggestion(key.rpartition(".")[2], names))
    return UserError(key, str(error).splitlines()[0], "a value of the type in the schema", "correct it")


def _search(folders: list[Path]) -> list[str]:
    """Override by which Hydra looks for presets in more folders."""
    places = [quoted(literal(f"file://{folder}")) for folder in folders]
    return [f"hydra.searchpath=[{','.join(places)}]"] if places else []


@cache
def _shipped(chosen: tuple[str, ...]) -> DictConfig:
    """Presets of the package alone, which stay as they are; a sweep asks for the same ones with every run."""
    return _compose(list(chosen))


def _changed(presets: DictConfig, words: list[str]) -> DictConfig | None:
    """Values over presets, as Hydra puts them there, without composing anew; None where a word adds or removes."""
    groups = group_options()
    overrides = [each for each in OverridesParser.create().parse_overrides(words) if each.key_or_group not in groups]
    if any(each.is_add() or each.is_force_add() or each.is_delete() or each.package for each in overrides):
        return None
    raw = presets.copy()
    for override in overrides:
        try:
            OmegaConf.update(raw, override.key_or_group, override.value(), merge=True)
        except OmegaConfBaseException as error:
            raise refused(error, override.key_or_group) from error
    return raw


def _compose(overrides: list[str]) -> DictConfig:
    try:
        raw = hydra_compose(config_name="fit", overrides=overrides, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__
        raise refused(cause if isinstance(cause, Exception) else error) from error
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
