"""Ingest: a video file to upright frames at a constant rate and the capture's size, sound on their clock, shots."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.audio.features import RATE
from talkingavatar.audio.reading import SILENT
from talkingavatar.errors import UserError
from talkingavatar.preprocessing.decode import Source, pictures, probe, sane_rate, sound, taken
from talkingavatar.preprocessing.numbering import Clock, clocks_of
from talkingavatar.preprocessing.shots import Cutting, shots_between, thumbnail
from talkingavatar.preprocessing.stages import write_json
from talkingavatar.runtime.command import warn
from talkingavatar.runtime.threads import in_order, made_ahead

INGEST_VERSION = 5
SHORTEST = 1.0  # seconds of a clip

ProgressFunction = Callable[[str, int], Callable[[], None]]


@dataclass(frozen=True)
class Cutout:
    """What of a source is taken, and at which size."""

    start: float = 0.0  # seconds
    end: float | None = None
    fps: float | None = None  # None: the source's, see `decode.sane_rate`; also that of a stream that tells none
    crop: tuple[int, int, int, int] | None = None  # x0, y0, x1, y1 in pixels of the upright source
    size: int = 640  # long side of the capture, pixels; smaller sources are not enlarged

    def box(self, source: Source) -> tuple[int, int, int, int]:
        """The crop, or the whole picture."""
        whole = (0, 0, source.width, source.height)
        if self.crop is None:
            return whole
        x0, y0, x1, y1 = self.crop
        if not (0 <= x0 < x1 <= source.width and 0 <= y0 < y1 <= source.height) or min(x1 - x0, y1 - y0) < 64:
            raise UserError("crop", f"{list(self.crop)}", f"x0,y0,x1,y1 of 64 pixels or more within {list(whole)}",
                            "correct it")  # fmt: skip
        return self.crop

    def shape(self, source: Source) -> tuple[int, int]:
        """Width and height of the capture: even, square pixels."""
        x0, y0, x1, y1 = self.box(source)
        width, height = (x1 - x0) * source.aspect, float(y1 - y0)
        scale = min(1.0, self.size / max(width, height))
        return 2 * round(width * scale / 2), 2 * round(height * scale / 2)

    def rate(self, source: Source) -> float:
        """Pictures a second of the capture."""
        return self.fps if self.fps is not None else sane_rate(source.rate)

    def frames(self, source: Source) -> int:
        """How many frames there will be.

        Raises:
            UserError: too few.
        """
        stop = source.seconds if self.end is None else min(self.end, source.seconds)
        if not 0 <= self.start < stop:
            found = f"{self.start:g} to {stop:g} s of {source.seconds:.2f} s"
            raise UserError("start, end", found, "a part of the video", "correct them")
        frames = round((stop - self.start) * self.rate(source))
        if frames < round(SHORTEST * self.rate(source)):
            found = f"{frames} frames ({stop - self.start:.2f} s)"
            cut = self.start > 0 or stop < source.seconds
            action = "take more of it by start and end" if cut else "give a longer clip"
            raise UserError("video", f"{source.file}: {found}", f"at least {SHORTEST:.0f} s", action)
        return frames


class Clip:
    """A finished ingest, read lazily. Coordinates have pixel centres at +0.5."""

    def __init__(self, folder: Path, video: Path | None = None) -> None:
        """`video` is where the source lies now, if it was moved."""
        self.folder = folder
        self.facts: dict[str, Any] = json.loads((folder / "ingest.json").read_text())
        self.video = Path(video or self.facts["video"])
        self.fps: float = self.facts["fps"]
        self.width, self.height, self.frames = (int(self.facts[k]) for k in ("width", "height", "frames"))
        self.shots: list[tuple[int, int]] = [(a, b) for a, b in self.facts["shots"]]
        self.cutout = Cutout(**{**self.facts["cutout"], "crop": _box(self.facts["cutout"]["crop"])})
        self.has_sound: bool = self.facts["has_sound"]
        # Pictures of the whole source, and which of them each frame shows: what was made of the source is thinned so.
        self.source_count: int = self.facts["source_frames"]
        self.taken: list[int] = self.facts["taken"]

    @property
    def picture_size(self) -> tuple[int, int]:
        """Width and height of the video's upright pictures, before they are cropped."""
        width, height = self.facts["picture_size"]
        return width, height

    @property
    def clocks(self) -> list[Clock]:
        """By what files made elsewhere may be numbered."""
        return clocks_of(self.taken, self.source_count, self.facts["source_rate"], self.fps)

    def frame(self, index: int) -> UInt8[ndarray, "H W 3"]:
        """RGB at the capture's size."""
        with Image.open(self.folder / "frames" / f"{index:06d}.png") as image:
            return np.array(image.convert("RGB"))

    @property
    def audio(self) -> Float[ndarray, " N"]:
        """16 kHz mono, as long as the video; sample 0 sounds at the start of frame 0."""
        return soundfile.read(self.folder / "audio.flac", dtype="float32")[0]

    @property
    def to_capture(self) -> tuple[float, float, float, float]:
        """(scale_x, scale_y, offset_x, offset_y): a point of `source_frames` lies at scale · point + offset here."""
        width, height = self.facts["source_size"]
        return self.width / width, self.height / height, 0.0, 0.0

    def source_frames(self, start: int = 0) -> Iterator[UInt8[ndarray, "h w 3"]]:
        """The same frames from `start` on, cropped but at the source's resolution."""
        yield from cropped(probe(self.video, self.cutout.fps), self.cutout, start)


def ingest(video: Path, cutout: Cutout, need_sound: bool, folder: Path, progress: ProgressFunction) -> None:
    """Fill `folder`: frames/, audio.flac and, last, ingest.json. Frames that are there already are kept.

    Raises:
        UserError: the file cannot be read, is too short, or has no sound or silence where sound is needed.
    """
    source = probe(video, cutout.fps)
    if source.fields:
        warn(f"{video}: its pictures are woven of two fields ({source.fields}) and do not say so: they are made whole")
    width, height = cutout.shape(source)
    frames, fps = cutout.frames(source), cutout.rate(source)
    x0, y0, x1, y1 = cutout.box(source)
    samples = _sound(source, cutout.start, frames / fps, need_sound)
    cuts = _write_frames(source, cutout, (width, height), frames, folder / "frames", progress)
    soundfile.write(folder / "audio.flac", samples, RATE)
    facts = {
        "video": str(video.resolve()),
        "codec": source.codec,
        "source_rate": source.rate,
        "source_seconds": source.seconds,
        "source_frames": len(source.film.times),
        "source_size": [x1 - x0, y1 - y0],
        "picture_size": [source.width, source.height],
        "has_sound": bool(np.abs(samples).max() >= SILENT),
        "fps": fps,
        "width": width,
        "height": height,
        "frames": frames,
        "taken": taken(source, fps, cutout.start, frames),
        "cutout": vars(cutout),
        "cuts": {t: round(new, 2) for t, new in cuts.items()},
        "shots": shots_between(list(cuts), frames),
    }
    write_json(folder / "ingest.json", facts)


def save_png(picture: UInt8[ndarray, "H W *C"], file: Path) -> None:
    """Under another name until it is whole."""
    temporary = file.with_suffix(".tmp")
    Image.fromarray(picture).save(temporary, format="png", compress_level=1)
    temporary.replace(file)


def cropped(source: Source, cutout: Cutout, skip: int = 0) -> Iterator[UInt8[ndarray, "h w 3"]]:
    """Frames of the cutout at the source's resolution."""
    x0, y0, x1, y1 = cutout.box(source)
    for picture in pictures(source, cutout.rate(source), cutout.start, cutout.end, skip):
        yield np.ascontiguousarray(picture[y0:y1, x0:x1])


def _sound(source: Source, start: float, seconds: float, need: bool) -> Float[ndarray, " N"]:
    action = "give a clip with speech, or sound=optional for an avatar that hears nothing"
    if need and not source.has_sound:
        raise UserError("video", f"{source.file}: no sound track", "speech", action)
    samples = sound(source, start, seconds) if source.has_sound else np.zeros(round(seconds * RATE), np.float32)
    if need and np.abs(samples).max() < SILENT:
        raise UserError("video", f"{source.file}: silence from {start:g} to {start + seconds:g} s", "speech", action)
    return samples


def _write_frames(
    source: Source, cutout: Cutout, size: tuple[int, int], frames: int, folder: Path, progress: ProgressFunction
) -> dict[int, float]:
    """Every frame as a PNG, from where an earlier start left off; the cuts, with how new each of those frames is."""
    folder.mkdir(exist_ok=True)
    files = [folder / f"{i:06d}.png" for i in range(frames)]
    done = next((i for i, file in enumerate(files) if not file.is_file()), frames)
    cutting = Cutting()
    advance = progress("reading the video", frames)

    def look(made: tuple[Path, UInt8[ndarray, "..."] | None]) -> UInt8[ndarray, "..."]:
        """The frame as a thumbnail; it is written where it was decoded just now."""
        file, picture = made
        if picture is None:
            with Image.open(file) as image:
                return thumbnail(np.array(image.convert("RGB")))
        small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
        save_png(small, file)
        return thumbnail(small)

    decoded = chain(repeat(None, done), made_ahead(cropped(source, cutout, done)))
    for thumb in in_order(look, zip(files, decoded, strict=True)):
        cutting.show(thumb)
        advance()
    return cutting.cuts()


def _box(values: list[int] | None) -> tuple[int, int, int, int] | None:
    if values is None:
        return None
    x0, y0, x1, y1 = values
    return x0, y0, x1, y1
