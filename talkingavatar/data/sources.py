"""Where captures come from: each source finds a capture or makes it on first use, and tells what is known before.

To add one: a class here with its row in `SOURCES`, and what it needs of a configuration in `config.schema.SOURCES`.
What draws or learns is imported where it is used: tables ask for names, and do without torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from talkingavatar.config.schema import AudioConfig, DataConfig
from talkingavatar.data.speaker.identity import capture_name, portrait_name
from talkingavatar.paths import user_path

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy import ndarray

    from talkingavatar.data.capture import Capture, Model
    from talkingavatar.data.motion_clips import MotionClip

Progress = Callable[[str, int], Callable[[], None]]


class Source:
    """A folder on disk, `data.path`; and what is true of a source unless it says otherwise."""

    def title(self, data: DataConfig, base: Path = Path()) -> str | None:
        """The capture's name, without opening or making it; None where nothing tells it.

        Args:
            base: the folder in which the configuration was given.
        """
        if data.path is None:
            return None
        folder = base / user_path(data.path)
        try:
            return str(json.loads((folder / "capture.json").read_text())["name"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError):  # no capture, or not here
            return folder.name

    def open(self, data: DataConfig, progress: Progress) -> Capture:
        """The capture, made first where it must be; `progress(title, total)` returns what is called after each frame.

        Raises:
            UserError: a mistake in the configuration, or in the capture.
        """
        from talkingavatar.data.capture import Capture

        assert data.path is not None, "checked with the configuration"
        return Capture(user_path(data.path), data.cache_mb)

    def motion(self, data: DataConfig, audio: AudioConfig, model: Model) -> MotionClip | None:
        """Sound and tracked motion, where they are known before a picture is drawn; None: the capture has them."""
        return None

    def people(self, data: DataConfig, identities: Sequence[int]) -> list[DataConfig]:
        """Configurations of these people of the source; the one there is where it has no others."""
        return [data]

    def unheard(self, data: DataConfig, seconds: float) -> Float[ndarray, " N"] | None:
        """What the person says after the capture's end, 16 kHz mono; None where that is not known."""
        return None


class EmbeddedSpeaker(Source):
    """The synthetic speaker: `identity`, `seed`, `seconds` and more decide what is drawn."""

    def title(self, data: DataConfig, base: Path = Path()) -> str | None:
        return capture_name(data.identity)

    def open(self, data: DataConfig, progress: Progress) -> Capture:
        from talkingavatar.data.speaker.record import speaker_capture
        from talkingavatar.data.speaker.views import SpeakerCapture

        return SpeakerCapture(speaker_capture(data, progress), data)

    def motion(self, data: DataConfig, audio: AudioConfig, model: Model) -> MotionClip | None:
        from talkingavatar.data.motion_clips import speaker_clip

        return speaker_clip(data, audio, model, float(data.fps), data.heldout)

    def people(self, data: DataConfig, identities: Sequence[int]) -> list[DataConfig]:
        return [replace(data, identity=identity) for identity in identities]

    def unheard(self, data: DataConfig, seconds: float) -> Float[ndarray, " N"] | None:
        """No more of it than the capture is long."""
        from talkingavatar.data.speaker.script import said

        speech, seconds = said(data).speech, min(seconds, data.seconds)
        start = min(data.seconds, speech.duration - seconds)
        return speech.excerpt(start, start + seconds).samples


class MovedPortrait(Source):
    """One picture, moved: what `preprocess` made of a photograph (`data.path`), or else one of a synthetic speaker.

    `identity`, `frames` and `size` decide what is drawn.
    """

    def title(self, data: DataConfig, base: Path = Path()) -> str | None:
        return portrait_name(data.identity) if data.path is None else super().title(data, base)

    def open(self, data: DataConfig, progress: Progress) -> Capture:
        if data.path is not None:
            return super().open(data, progress)
        from talkingavatar.data.portrait.embedded import FRAMING, portrait_capture
        from talkingavatar.data.speaker.views import SpeakerCapture

        return SpeakerCapture(portrait_capture(data, progress), replace(data, framing=FRAMING, cloth="own"))

    def people(self, data: DataConfig, identities: Sequence[int]) -> list[DataConfig]:
        return [replace(data, identity=identity) for identity in identities] if data.path is None else [data]


# The names are those of `config.schema.SOURCES`.
SOURCES: dict[str, Source] = {"speaker": EmbeddedSpeaker(), "portrait": MovedPortrait(), "capture": Source()}


def source_of(data: DataConfig) -> Source:
    return SOURCES[data.name]
