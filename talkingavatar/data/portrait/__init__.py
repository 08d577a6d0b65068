"""One picture of a person that moves: sources of motion latents and of the frames that they make of a portrait."""

from talkingavatar.data.portrait.portrait import Portrait
from talkingavatar.data.portrait.source import Animated, MotionSource

__all__ = ["Animated", "MotionSource", "Portrait"]
