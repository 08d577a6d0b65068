"""A performance's face made to do what a prompt asks, on any body whose actions have names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.body.action_units import NAMES, SPOKEN, NamedFace, facial_actions
from talkingavatar.body.body import Body
from talkingavatar.data.inputs import reposed
from talkingavatar.data.prompts.ask import Track
from talkingavatar.errors import UserError
from talkingavatar.types import DrivingSignal

Rule = Literal["floor", "published"]
ALPHA, BETA = 1.0, 0.3  # the published rule's; methods.md D.2: their values were not found


def edited(signal: DrivingSignal, body: Body, track: Track, rule: Rule = "floor") -> DrivingSignal:
    """The same frames with the track's action units in their faces.

    `floor`: each action is what it was, less what is calmed, and at least what is asked. `published` (EmoDiffTalk):
    what is asked for is on or off, E (1 + alpha) or E (1 - beta); it scales, so that what rests stays at rest.

    Raises:
        UserError: a body whose expressions have no names.
    """
    face = named_face(body)
    before = face.read(signal.pose)
    if rule == "published":
        on = facial_actions((track.raised > 0).astype(float), face.names, 1.0) > 0
        scaled = (before * np.where(on, 1 + ALPHA, 1 - BETA)).clip(0, 1)
        after = before + track.weight[:, None] * np.where(before > 0, scaled - before, 0)
    else:
        calmed = facial_actions(track.calmed, face.names, 1.0)
        after = np.maximum(before * (1 - calmed), facial_actions(track.raised, face.names))
    return reposed(signal, face.write(signal.pose, after))


def named_face(body: Body) -> NamedFace:
    """
    Raises:
        UserError: a body whose expressions have no names.
    """
    try:
        return NamedFace(body)
    except UserError as error:
        found = f"a run on {body.name}, whose expressions have no names"
        raise UserError("emotion, au", found, "a body with named actions", "fit with body=open_flame") from error
