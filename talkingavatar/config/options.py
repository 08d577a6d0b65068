"""Options that only their owner knows (`method.options`, `driver.options`), checked against its dataclass."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

from talkingavatar.config.names import suggestion
from talkingavatar.config.ranges import check_value
from talkingavatar.errors import UserError

Options = TypeVar("Options")


def read_options(defaults: Options, given: dict[str, Any], field: str = "method.options") -> Options:
    """The defaults (a dataclass instance) with what the configuration gives.

    Raises:
        UserError: an unknown name, or a value of the wrong type, out of range or not among the field's few.
    """
    declared = {f.name: f.metadata for f in fields(defaults)}  # type: ignore[arg-type]
    for name, value in given.items():
        if name not in declared:
            expected = f"one of {', '.join(declared)}"
            raise UserError(f"{field}.{name}", "an unknown key", expected, suggestion(name, declared))
        wanted = type(getattr(defaults, name))
        if not isinstance(value, wanted) and not (wanted is float and type(value) is int):
            raise UserError(f"{field}.{name}", repr(value), f"a {wanted.__name__}", "correct it")
        check_value(f"{field}.{name}", value, declared[name])
        if (known := declared[name].get("one of")) and value not in known:
            raise UserError(f"{field}.{name}", repr(value), f"one of {', '.join(known)}", suggestion(value, known))
    return replace(defaults, **given)  # type: ignore[type-var]
