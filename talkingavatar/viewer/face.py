"""What a page needs of faces: which actions a unit moves, and what a prompt in words asks of them."""

from __future__ import annotations

import math
from typing import Any

from talkingavatar.body.action_units import INTENSITY, JAW, JAW_OPEN, PARTED, SPOKEN, UNITS
from talkingavatar.data.prompts.ask import FADE, Ask
from talkingavatar.engine.performing.editing import STEP, Edit, open_edit


def table() -> dict[str, Any]:
    """The units with what each means, and the constants of `body.action_units` and `data.prompts.ask`."""
    return {
        "units": {name: {"meaning": unit.meaning, "actions": list(unit.actions)} for name, unit in UNITS.items()},
        "intensity": INTENSITY,
        "parted": PARTED,
        "jaw": JAW,
        "jawOpen": JAW_OPEN,
        "spoken": list(SPOKEN),
        "fade": FADE,
        "step": STEP,
    }


def understood(text: str) -> tuple[list[Ask], list[str]]:
    """What a prompt asks: units for a while, and how its words were taken.

    Raises:
        UserError: it is not understood.
    """
    opened = open_edit(Edit(emotion=text))
    assert opened is not None, "a prompt was given"
    return opened.asks, opened.notes


def told(ask: Ask) -> dict[str, Any]:
    """As the page reads it."""
    return {
        "start": ask.start,
        "stop": ask.stop if math.isfinite(ask.stop) else None,
        "raised": dict(ask.raised),
        "calmed": dict(ask.calmed),
        "feeling": ask.feeling,
    }
