"""Sound (and prompts) to signals: what foretells motion, by name."""

from typing import TYPE_CHECKING

from talkingavatar.config.plugins import named

if TYPE_CHECKING:
    from talkingavatar.drivers.driver import Driver

DRIVERS = {
    "audio2param": "talkingavatar.drivers.audio2param.driver:Audio2ParamDriver",
    "diffusion": "talkingavatar.drivers.diffusion.driver:DiffusionDriver",
    "ridge": "talkingavatar.drivers.ridge:RidgeMouth",
}


def driver_class(name: str) -> "type[Driver]":
    """The class of a driver's name; other packages offer theirs as entry points of `talkingavatar.drivers`.

    Raises:
        UserError: there is no such driver.
    """
    return named("driver.name", name, DRIVERS, "talkingavatar.drivers")
