"""The nearest of the names that there are."""

import difflib
from collections.abc import Iterable


def suggestion(name: str, options: Iterable[str]) -> str:
    """What to do about a name that is not among the options."""
    lowered = {option.lower(): option for option in options}
    near = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.5)
    return f"did you mean {lowered[near[0]]}?" if near else "see --help"
