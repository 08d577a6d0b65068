"""Action units as a user lists them: "AU12=2.5 at 6s, AU04=1 from 2s until 4s"."""

from __future__ import annotations

from talkingavatar.data.prompts.ask import Ask, intensity, unit_key
from talkingavatar.data.prompts.clock import ended, take_times
from talkingavatar.errors import UserError

FIELD = "au"


def parse_units(text: str) -> list[Ask]:
    """Each unit from its time on, until it is listed again or its own end.

    Raises:
        UserError: an unknown unit, an intensity out of range, or something else than units and times.
    """
    listed: list[tuple[str, float, float, float | None, str]] = []
    for part in filter(str.strip, text.replace(";", ",").split(",")):
        left, span = take_times(part, FIELD)
        name, equals, value = left.partition("=")
        if not equals:
            raise UserError(FIELD, repr(part.strip()), "units as in AU12=2.5 at 6s", "correct it, or give a CSV")
        key = unit_key(name, FIELD)
        listed.append((key, intensity(key, value, FIELD), span.start or 0.0, span.stop, f"{FIELD}={part.strip()}"))
    if not listed:
        raise UserError(FIELD, repr(text), "units as in AU12=2.5 at 6s", "correct it, or leave it out")
    return [
        Ask(start, ended([s for k, _, s, *_ in listed if k == key], start) if stop is None else stop, {key: value},
            {}, words)
        for key, value, start, stop, words in listed
    ]  # fmt: skip
