"""What a configuration's values must be beyond their types."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from talkingavatar.config.emotions import chosen_emotions
from talkingavatar.config.family_options import OPTIONS
from talkingavatar.config.names import suggestion
from talkingavatar.config.ranges import check_ranges, check_value
from talkingavatar.config.schema import CHOICES, INPUTS, SCHEMA, SOURCES, DataConfig, FitConfig
from talkingavatar.config.stages import check_stages
from talkingavatar.errors import UserError

FILMED = ("emotions", "cameras", "cloth")  # what the embedded speaker alone is filmed with; others would pass it over
# Where a path is read, by the choice; with another it would be passed over, and another body or person taken.
READ_BY = {"data": ("capture", "portrait"), "body": ("smplx", "flame"), "audio": ("wav2vec2", "deepspeech")}


def check_values(config: FitConfig) -> None:
    """
    Raises:
        UserError: a value is none of its few, out of its range, missing, or given where none is read.
    """
    for key, choices in CHOICES.items():
        section, _, name = key.partition(".")
        value = getattr(getattr(config, section), name)
        if value not in choices:
            raise UserError(key, repr(value), f"one of {', '.join(choices)}", suggestion(value, choices))
    if config.schema != SCHEMA:
        raise UserError("schema", str(config.schema), str(SCHEMA), "leave it: it numbers what this version can read")
    _check_options(config, "")
    for name, stage in config.stages.items():
        _check_options(stage, f"stages.{name}.")
    check_ranges(config)
    check_stages(config)
    chosen_emotions(config.data.emotions)
    for name in config.method.silence:
        if name not in INPUTS:
            expected = f"some of {', '.join(INPUTS)}"
            raise UserError("method.silence", repr(name), expected, suggestion(name, INPUTS))
    for key, expected in SOURCES[config.data.name].items():
        if not getattr(config.data, key):
            raise UserError(f"data.{key}", "nothing", expected, f"give data.{key}=...")
    usual = DataConfig()
    for name in FILMED:
        value = getattr(config.data, name)
        if config.data.name != "speaker" and value != getattr(usual, name):
            found = f"{value!r} with data={config.data.name}, which is not filmed here"
            raise UserError(
                f"data.{name}", found, repr(getattr(usual, name)), "give data=speaker as well, or leave it out"
            )
    for section, names in READ_BY.items():
        part = getattr(config, section)
        if part.path is not None and part.name not in names:
            found = f"{part.path!r} with {section}={part.name}, which reads none"
            action = f"give {' or '.join(f'{section}={name}' for name in names)} as well, or leave it out"
            raise UserError(f"{section}.path", found, "no path", action)


def _check_options(owner: Any, prefix: str) -> None:
    """Numbers among the options of sections, as their dataclasses declare them."""
    for section, nodes in OPTIONS.items():
        part = getattr(owner, section)
        if part is None or part.name not in nodes:
            continue
        declared = {each.name: each.metadata for each in fields(nodes[part.name])}
        for name, value in part.options.items():
            check_value(f"{prefix}{section}.options.{name}", value, declared.get(name, {}))
