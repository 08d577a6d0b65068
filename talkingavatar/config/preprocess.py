"""What `preprocess` may be told: every key with its meaning and unit."""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talkingavatar.config.arguments import plain_name
from talkingavatar.errors import UserError

VIDEO_SIZE, PORTRAIT_SIZE = 640, 512
OF_PORTRAITS = (
    "portrait",
    "name",
    "out",
    "crop",
    "size",
    "frames",
    "heldout",
    "progress",
    "source",
    "motion",
    "weights",
)  # what means something to them
OF_LIVE_PORTRAIT = ("motion", "weights")
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class PreprocessConfig:
    """A preprocessing. `None` means: found out from the clip."""

    video: str = ""  # any file ffmpeg reads
    portrait: str | None = None  # instead of a video: one picture, which a bank of motions moves
    name: str | None = None  # of the capture; None: the file's name
    out: str | None = None  # capture folder; None: $TALKINGAVATAR_CAPTURES/<name>, else captures/<name>
    frames: int = 600  # of a portrait's motion, at 25 a second
    source: str = "mesh_code"  # mesh_code | liveportrait: what moves a portrait
    motion: str | None = None  # of LivePortrait: a capture, a template or a sound; None: the package's speech
    weights: str | None = None  # folder of LivePortrait's and its drivers' files; None looks in the usual places
    start: float = 0.0  # seconds from the clip's beginning
    end: float | None = None  # seconds
    fps: float | None = None  # of the capture; None: the source's average, rounded to a usual rate of at most 30
    crop: Box | None = None  # x0,y0,x1,y1 in pixels of the upright source
    size: int | None = None  # long side of the capture, pixels; None: 640, smaller videos as they are; a portrait 512
    sound: str = "required"  # required | optional: without it the avatar hears nothing
    sync: str = "auto"  # auto | none | frames by which the sound comes too late (negative: too early)
    landmarks: str = "mediapipe"  # mediapipe | openpose | openface
    landmarks_path: str | None = None  # OpenPose: folder of JSON files; OpenFace: CSV file
    mattes: str | None = None  # mattes made elsewhere, a folder or a video; None: from the landmark source's mask
    body: str = "open"  # open | smplx: the whole body; open_flame | flame: the head alone
    body_path: str | None = None  # licensed model file or folder; None looks in the usual places
    gender: str = "neutral"  # neutral | male | female (licensed SMPL-X)
    smooth: float = 1.0  # weight of the motion's smoothness
    heldout: float = 0.2  # share of the clip, at its end, that is never trained on
    stride: int | None = None  # every n-th frame of the first part is trained on; None: about 400 frames at most
    progress: bool = True  # show progress

    @property
    def long_side(self) -> int:
        """Of the capture, pixels; a smaller video is not enlarged."""
        return self.size or (VIDEO_SIZE if self.portrait is None else PORTRAIT_SIZE)

    @property
    def title(self) -> str:
        """The capture's name."""
        return self.name or Path(self.portrait or self.video).stem


CHOICES = {
    "source": ("mesh_code", "liveportrait"),
    "sound": ("required", "optional"),
    "landmarks": ("mediapipe", "openpose", "openface"),
    "body": ("open", "open_flame", "smplx", "flame"),
    "gender": ("neutral", "male", "female"),
}
RANGES = {
    "start": (0.0, 1e6),
    "end": (0.1, 1e6),
    "frames": (20, 6000),
    "fps": (8.0, 60.0),
    "size": (128, 2160),
    "smooth": (0.0, 100.0),
    "heldout": (0.02, 0.9),
    "stride": (1, 1000),
}
MOST_SYNC = 1000  # frames
BOOLEANS = {"true": True, "false": False}


def read_arguments(arguments: Iterable[str]) -> PreprocessConfig:
    """From `key=value` arguments.

    Raises:
        UserError: an unknown key (the nearest is suggested), a value of the wrong kind or out of range, no video.
    """
    kinds = typing.get_type_hints(PreprocessConfig)
    given: dict[str, Any] = {}
    for text in arguments:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError("argument", repr(text), "key=value", "see --help for examples")
        if key not in kinds:
            raise UserError(key, "an unknown key", "a key of preprocess", _suggestion(key, kinds))
        given[key] = _convert(key, value, kinds[key])
    config = PreprocessConfig(**given)
    _check_kind(config, given)
    _check(config)
    return config


def _convert(key: str, text: str, kind: Any) -> Any:
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if not text:
        raise UserError(key, "nothing", "a value", f"give {key}=..., or leave it out")
    if type(None) in options and text in ("null", "none"):
        return None
    wanted = options[0]
    try:
        if typing.get_origin(wanted) is tuple:
            numbers = tuple(int(part) for part in re.split(r"[,\s]+", text.strip("[]() ")))
            if len(numbers) != len(typing.get_args(wanted)):
                raise ValueError(text)
            return numbers
        return BOOLEANS[text.lower()] if wanted is bool else wanted(text)
    except (ValueError, KeyError) as error:
        names = {int: "a whole number", float: "a number", bool: "true or false"}
        expected = names.get(wanted, "four whole numbers x0,y0,x1,y1")
        raise UserError(key, repr(text), expected, "correct it") from error


def _check_kind(config: PreprocessConfig, given: Iterable[str]) -> None:
    if config.portrait is None and "frames" in given:
        raise UserError("frames", f"{config.frames} of a video", "a portrait's, which is moved so long",
                        "drop it; end= cuts a video")  # fmt: skip
    for key in given:
        if config.portrait is None and key in ("source", *OF_LIVE_PORTRAIT):
            raise UserError(key, f"{key}={getattr(config, key)} of a video", "of a portrait, which it moves", "drop it")
        if config.source != "liveportrait" and key in OF_LIVE_PORTRAIT:
            found = f"{key}={getattr(config, key)}, with source={config.source}"
            raise UserError(key, found, "of source=liveportrait", "give it, or drop this")
        if config.portrait is not None and key not in OF_PORTRAITS:
            kind = "a video as well" if key == "video" else f"{key}={getattr(config, key)}"
            raise UserError(key, f"{kind}, with a portrait", f"of {', '.join(OF_PORTRAITS[1:])}", "drop it")


def _check(config: PreprocessConfig) -> None:
    if not config.video and config.portrait is None:
        raise UserError("video", "nothing", "a video file", "give video=<file>")
    plain_name("name", config.title)
    for key, choices in CHOICES.items():
        value = getattr(config, key)
        if value not in choices:
            raise UserError(key, repr(value), f"one of {', '.join(choices)}", _suggestion(value, choices))
    for key, (least, most) in RANGES.items():
        value = getattr(config, key)
        if value is not None and not least <= value <= most:
            raise UserError(key, f"{value:g}", f"{least:g} to {most:g}", "correct it")
    if config.end is not None and config.end <= config.start:
        raise UserError("end", f"{config.end:g}", f"later than start={config.start:g}", "correct it")
    sync_frames(config)
    if config.landmarks != "mediapipe" and config.landmarks_path is None:
        raise UserError("landmarks_path", "nothing", f"{config.landmarks} results", "give landmarks_path=<path>")


def sync_frames(config: PreprocessConfig) -> float | None:
    """The correction the user wants: frames, or None where it is to be measured."""
    if config.sync in ("auto", "none"):
        return None if config.sync == "auto" else 0.0
    try:
        frames = float(config.sync)
    except ValueError:
        frames = math.nan
    if not abs(frames) <= MOST_SYNC:
        expected = f"auto, none or a number of frames up to {MOST_SYNC}"
        raise UserError("sync", repr(config.sync), expected, "correct it")
    return frames


def _suggestion(name: str, options: Iterable[str]) -> str:
    from talkingavatar.config.names import suggestion

    return suggestion(name, options)
