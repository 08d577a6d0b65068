"""The final LightningModules, one a family, and their common base."""

from importlib import import_module
from typing import TYPE_CHECKING

from talkingavatar.config.compose import suggestion
from talkingavatar.errors import UserError

if TYPE_CHECKING:
    from talkingavatar.methods.base import Method

METHODS = {
    "thgs": "talkingavatar.methods.thgs:THGS",
    "flame_rigged": "talkingavatar.methods.flame_rigged:FlameRigged",
    "audio_deformed": "talkingavatar.methods.audio_deformed:AudioDeformed",
}


def method_class(name: str) -> "type[Method]":
    """The class of a method's name.

    Raises:
        UserError: there is no such method.
    """
    if name not in METHODS:
        raise UserError("method.name", repr(name), f"one of {', '.join(METHODS)}", suggestion(name, METHODS))
    module, attribute = METHODS[name].split(":")
    return getattr(import_module(module), attribute)
