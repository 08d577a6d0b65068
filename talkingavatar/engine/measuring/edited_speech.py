"""Held-out speech performed anew by a fitted avatar, as it is and with what prompts ask of its face."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Bool, Float
from numpy import ndarray

from talkingavatar.audio.features import RATE, resample
from talkingavatar.body.action_units import NamedFace
from talkingavatar.body.lips import opening_of
from talkingavatar.data.prompts.ask import FADE
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.engine.measuring.held_out import HeldOut
from talkingavatar.engine.performing.editing import Edit, OpenedEdit, open_edit
from talkingavatar.engine.performing.performance import SOUND_RATE, OpenedRequest, Performance, Request, prepare

LONGEST, SHORTEST = 8.0, 2.0  # seconds of speech that are performed
# What is asked, with a place for how strongly; seven feelings and an order to the face.
PROMPTS = {
    "happy": "{} happy", "sad": "{} sad", "angry": "{} angry", "surprised": "{} surprised", "afraid": "{} afraid",
    "disgusted": "{} disgusted", "contempt": "{} contemptuous", "brows": "{} raised brows",
}  # fmt: skip
STRENGTHS = ("slightly", "", "very")


@dataclass(frozen=True)
class Edited:
    """A performance, and which units its edit raises and calms."""

    performance: Performance
    raised: Bool[ndarray, " 17"]
    calmed: Bool[ndarray, " 17"]


class EditedSpeech:
    """One stretch of held-out speech. An edit holds over its middle half."""

    def __init__(self, avatar: FittedRun, held: HeldOut) -> None:
        self.avatar, self.held = avatar, held
        start, stop = max(held.shots, key=lambda shot: shot[1] - shot[0])
        self.rows = slice(start, min(stop, start + round(LONGEST * held.fps)))
        before = sum(b - a for a, b in held.shots if b <= start)
        first = round(before / held.fps * RATE)
        frames = self.rows.stop - self.rows.start
        self.seconds = frames / held.fps
        self.sound = resample(held.sound[first : first + round(self.seconds * RATE)], RATE, SOUND_RATE)
        self.span = round(self.seconds / 4, 1), round(3 * self.seconds / 4, 1)

    @property
    def why_not(self) -> str:
        """Why nothing can be edited in it; empty where it can."""
        return "" if self.seconds >= SHORTEST else f"no {SHORTEST:g} s of speech are held out in a row"

    @property
    def edges(self) -> tuple[int, int]:
        """Frames at which an edit begins and ends."""
        start, stop = (round(time * self.held.fps) for time in self.span)
        return start, stop

    @property
    def steady(self) -> slice:
        """Frames in which it is wholly there."""
        fade = round(FADE * self.held.fps)
        return slice(self.edges[0] + fade, self.edges[1] - fade)

    @cached_property
    def plain(self) -> Performance:
        """Nothing is asked."""
        return self._performed(None)

    def edited(self, prompt: str, strength: str) -> Edited:
        """One of `PROMPTS` at one of `STRENGTHS`."""
        words = PROMPTS[prompt].format(strength).strip()
        opened = open_edit(Edit(f"{words} from {self.span[0]}s until {self.span[1]}s"))
        assert opened is not None
        track = opened.track(self.held.fps, len(self.plain))
        raised, calmed = (curves.max((0, 2)) > 0 for curves in (track.raised, track.calmed))
        return Edited(self._performed(opened), raised, calmed)

    def units(self, performance: Performance) -> Float[ndarray, "T 17"]:
        """Of the face that is posed."""
        return NamedFace(self.avatar.body).units(performance.signal.pose)

    def opening(self, performance: Performance) -> Float[ndarray, " T"]:
        """How far its lips stand apart, metres."""
        return opening_of(self.avatar.body, performance.signal.pose)

    @cached_property
    def true_opening(self) -> Float[ndarray, " T"]:
        """How far the true lips stood apart as this was said."""
        return opening_of(self.held.body, self.held.pose[self.rows])

    @cached_property
    def true_units(self) -> Float[ndarray, "T 17"]:
        """Of all of the capture's frames, true where that is known, else tracked."""
        data = self.avatar.data
        every = list(range(data.capture.manifest.frames))
        true = data.capture.true_pose(every, data.model)
        return NamedFace(self.held.body).units(data.capture.pose(every, data.model) if true is None else true)

    def _performed(self, opened: OpenedEdit | None) -> Performance:
        return prepare(self.avatar, OpenedRequest(Request(), self.sound, None, opened))[0]
