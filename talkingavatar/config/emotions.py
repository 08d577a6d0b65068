"""The emotions that are labelled, and how a configuration names some of them."""

from __future__ import annotations

from talkingavatar.config.names import suggestion
from talkingavatar.errors import UserError

EMOTIONS = ("neutral", "happy", "sad", "angry", "surprised", "disgusted", "afraid", "contempt")


def chosen_emotions(text: str) -> tuple[str, ...]:
    """Those that `data.emotions` names: "none", "all", or some with "+" between; in the order of `EMOTIONS`.

    Raises:
        UserError: none is called so.
    """
    if text in ("none", "all"):
        return EMOTIONS if text == "all" else ()
    named = text.split("+")
    for name in named:
        if name not in EMOTIONS:
            expected = f"none, all, or some of {', '.join(EMOTIONS)} with + between"
            raise UserError("data.emotions", repr(name), expected, suggestion(name, ["none", "all", *EMOTIONS]))
    return tuple(emotion for emotion in EMOTIONS if emotion in named)
