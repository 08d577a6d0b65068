"""The final LightningModules, one a family, and their common base."""

from typing import TYPE_CHECKING

from talkingavatar.config.plugins import named

if TYPE_CHECKING:
    from talkingavatar.methods.base import Method

METHODS = {
    "thgs": "talkingavatar.methods.thgs:THGS",
    "flame_rigged": "talkingavatar.methods.flame_rigged:FlameRigged",
    "motion_latent": "talkingavatar.methods.motion_latent:MotionLatent",
    "au_diffusion": "talkingavatar.methods.au_diffusion:AuDiffusion",
    "audio_deformed": "talkingavatar.methods.audio_deformed:AudioDeformed",
    "branch_deformed": "talkingavatar.methods.branch_deformed:BranchDeformed",
}


def method_class(name: str) -> "type[Method]":
    """The class of a method's name; other packages offer theirs as entry points of `talkingavatar.methods`.

    Raises:
        UserError: there is no such method.
    """
    return named("method.name", name, METHODS, "talkingavatar.methods")
