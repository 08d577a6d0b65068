"""A fitted run that speaks as it hears, as rows of what moves its baked avatar."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.body.action_units import is_named
from talkingavatar.data.prompts.ask import Asked
from talkingavatar.drivers.unit_edit import UnitEdit
from talkingavatar.engine.performing.speech import Speaker, Speech
from talkingavatar.types import DrivingSignal
from talkingavatar.viewer.shown import Live, Motion, rows_of


def live_of(speaker: Speaker, motion: Callable[[DrivingSignal], Motion]) -> Live:
    """
    Args:
        motion: of any frames of its avatar.
    """

    def voice(first: int, edit: UnitEdit | None = None) -> RunVoice:
        return RunVoice(speaker.speech(first, edit=edit), motion)

    def prompted(first: int, asked: Asked) -> RunVoice:
        return voice(first, UnitEdit(asked))

    named = is_named(speaker.body.expression_names)
    return Live(speaker.fps, speaker.lookahead, voice, prompted if named else None)


class RunVoice:
    """Rows of a motion as soon as they are certain."""

    def __init__(self, speech: Speech, motion: Callable[[DrivingSignal], Motion]) -> None:
        torch.set_num_threads(1)  # of this thread
        self.speech, self.motion = speech, motion

    def push(self, samples: Float[ndarray, " N"]) -> Float[ndarray, "n D"]:
        """The next samples, 16 kHz mono; rows of the frames that they make certain."""
        signal = self.speech.push(samples)
        return np.zeros((0, 0), np.float32) if signal is None else rows_of(self.motion(signal))
