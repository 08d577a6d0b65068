"""A performance's face made to do what a prompt asks, on any body whose actions have names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from numpy import ndarray

from talkingavatar.body.action_units import NAMES, SPOKEN, NamedFace, facial_actions, is_named
from talkingavatar.body.body import Body
from talkingavatar.body.lips import LipRuler
from talkingavatar.config.names import suggestion
from talkingavatar.data.inputs import reposed
from talkingavatar.data.prompts.ask import Ask, Track, track_of
from talkingavatar.data.prompts.lexicon import lexicon
from talkingavatar.data.prompts.placing import Placing, encoder_folder, load_encoder
from talkingavatar.data.prompts.text import Placer, parse_text
from talkingavatar.data.prompts.unit_list import parse_units
from talkingavatar.drivers.driver import Driver, Heard, Prompt
from talkingavatar.drivers.unit_edit import ALPHA, BETA, UnitEdit
from talkingavatar.engine.performing.unit_curves import UnitCurves
from talkingavatar.errors import UserError
from talkingavatar.paths import cache_root
from talkingavatar.runtime.files import folder_for, sha256
from talkingavatar.types import BodyPose, DrivingSignal

RULES = ("floor", "published")
STEP = 0.05  # radians of the jaw, over which the lips' opening is taken as linear


@dataclass(frozen=True)
class Edit:
    """What is asked of the face besides what the sound says; times count from where the video begins."""

    emotion: str | None = None  # in words (`data.prompts.text`)
    au: str | Path | None = None  # action units as a list, or OpenFace's CSV
    rule: str = "floor"  # of `RULES`

    @property
    def given(self) -> bool:
        return self.emotion is not None or self.au is not None


@dataclass(frozen=True)
class OpenedEdit:
    """An edit that has been understood."""

    asks: list[Ask]
    curves: UnitCurves | None
    rule: str
    notes: list[str]  # on how it was understood

    def track(self, fps: float, frames: int) -> Track:
        """
        Raises:
            UserError: something is asked for beyond the end.
        """
        track = track_of(self.asks, fps, frames, spoken=self.rule == "published")
        return track if self.curves is None else track.with_(self.curves.track(fps, frames))


def open_edit(edit: Edit) -> OpenedEdit | None:
    """None where nothing is asked.

    Raises:
        UserError: it is not understood.
    """
    if edit.rule not in RULES:
        raise UserError("edit", repr(edit.rule), f"one of {', '.join(RULES)}", suggestion(edit.rule, RULES))
    if not edit.given:
        if edit.rule != RULES[0]:
            raise UserError("edit", edit.rule, "something to edit by", "give emotion=... or au=...")
        return None
    asks: list[Ask] = []
    notes: list[str] = []
    curves = None
    if edit.emotion is not None:
        read = parse_text(edit.emotion, placer())
        asks, notes = read.asks, read.notes
    if isinstance(edit.au, Path):
        curves = UnitCurves(edit.au)
    elif edit.au is not None:
        asks = asks + parse_units(edit.au)
    return OpenedEdit(asks, curves, edit.rule, notes)


def placer() -> Placer | None:
    """Of unknown words, by their meaning; None where there is no encoder. It is loaded when it is first asked."""
    folder = encoder_folder()
    if folder is None:
        return None

    @cache
    def loaded() -> Placing:
        kept = folder_for(cache_root() / "words", "$TALKINGAVATAR_CACHE", "choose another folder")
        return Placing(load_encoder(folder), lexicon(), kept, sha256(folder / "model.safetensors"))

    return lambda phrase: loaded()(phrase)


@torch.no_grad()
def foretold(
    driver: Driver, signal: DrivingSignal, heard: Heard, prompt: Prompt, seed: int, body: Body, edit: UnitEdit | None
) -> DrivingSignal:
    """What a driver makes of the sound, with an edit in its face and in its action units, where it foretells any.

    A driver that takes edits makes the face that goes with them. What that face lacks of a `floor` is added, and its
    lips stand as far apart as the sound alone would have them.

    Raises:
        UserError: as `Driver.foretell`, or a body whose expressions have no names.
    """
    spoken = driver.foretell(signal, heard, prompt, seed)
    if edit is None:
        return spoken
    made = driver.foretell(signal, heard, replace(prompt, edit=edit), seed) if "edit" in driver.takes else None
    return with_edit(spoken, made, body, edit)


def with_edit(
    spoken: DrivingSignal, made: DrivingSignal | None, body: Body, edit: UnitEdit, first: int = 0
) -> DrivingSignal:
    """What a driver makes of the sound alone, with an edit in its face and in its action units.

    Args:
        made: what a driver that takes edits makes of both; None of another.
        first: of the edit's frames.

    Raises:
        UserError: a body whose expressions have no names.
    """
    track = edit.track.window(first, len(spoken))
    if made is None:
        units = None if spoken.actions is None else edit.applied(spoken.actions, first)
        return replace(edited(spoken, body, track, edit.rule), actions=units)
    if edit.rule == "published":
        return made
    return replace(edited(made, body, track, edit.rule, spoken.pose), actions=made.actions)


def edited(
    signal: DrivingSignal, body: Body, track: Track, rule: str = "floor", speech: BodyPose | None = None
) -> DrivingSignal:
    """The same frames with the track's action units in their faces.

    `floor`: each action is what it was, less what is calmed, and at least what is asked; where nothing is asked of the
    jaw, it turns so that the lips stand as far apart as before, which a smile alone would change. `published`
    (EmoDiffTalk): what is asked for is on or off, E (1 + alpha) or E (1 - beta); it scales, so that what rests stays
    at rest.

    Args:
        speech: whose lips stand as far apart as they shall, if not the signal's.

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
    pose = face.write(signal.pose, after)
    if rule == "floor":
        spoken = [NAMES.index(name) for name in SPOKEN]
        free = (track.raised[:, spoken] + track.calmed[:, spoken]).max((1, 2)) == 0
        pose = with_opening(body, signal.pose if speech is None else speech, pose, free & (track.weight > 0))
    return reposed(signal, pose)


@torch.no_grad()
def with_opening(body: Body, before: BodyPose, after: BodyPose, where: Bool[ndarray, " T"]) -> BodyPose:
    """In some frames the lips as far apart as `before`, by one step of the jaw, as far as the teeth let it."""
    ruler = LipRuler(body)
    rows = torch.from_numpy(np.flatnonzero(where))
    if not ruler.known or not len(rows):
        return after
    jaw, moved = body.joint_names.index("jaw"), after[rows]
    wider = replace(moved, full_pose=moved.full_pose.clone())
    wider.full_pose[:, jaw, 0] += STEP
    now = ruler.of_body(moved)
    turn = STEP * (ruler.of_body(before[rows]) - now) / np.maximum(ruler.of_body(wider) - now, 1e-6)
    least = before.full_pose[rows, jaw, 0].clamp(max=0)
    full_pose = after.full_pose.clone()
    full_pose[rows, jaw, 0] = torch.maximum(full_pose[rows, jaw, 0] + torch.from_numpy(turn).to(full_pose), least)
    return replace(after, full_pose=full_pose)


def named_face(body: Body) -> NamedFace:
    """
    Raises:
        UserError: a body whose expressions have no names.
    """
    if not is_named(body.expression_names):
        found = f"a run on {body.name}, whose expressions have no names"
        raise UserError("emotion, au", found, "a body with named actions", "fit with body=open_flame")
    return NamedFace(body)
