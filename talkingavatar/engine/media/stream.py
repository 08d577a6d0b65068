"""Pictures and sound that are written as they come: into an mp4 that grows, or as Matroska into a pipe."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal

import av
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from talkingavatar.engine.media.yuv import video_frame

RATE = 48_000  # Hz of its sound
# A fragment each second: what was written plays, whatever becomes of the rest. Its head waits for the first of both, to
# say by how much sound starts early that is coded in blocks.
GROWING = {"movflags": "frag_keyframe+delay_moov+default_base_moof"}
PIPED = {"flush_packets": "1", "cluster_time_limit": "0"}


class StreamWriter:
    """Frames by number, some of which may be missing; an mp4 has another name until it is whole."""

    def __init__(self, target: Path | int, fps: float, width: int, height: int) -> None:
        """
        Args:
            target: an mp4 file, or the descriptor of a pipe.
        """
        self.file = target if isinstance(target, Path) else None
        self.temporary = None if self.file is None else self.file.with_suffix(".tmp.mp4")
        self.fps = Fraction(fps).limit_denominator(1001)
        # A file of our own: FFmpeg tells nobody of a fragment for which there was no room.
        self.growing = None if self.temporary is None else self.temporary.open("wb", buffering=0)
        if self.growing is None:
            self.container = av.open(f"pipe:{target}", "w", format="matroska", options=PIPED)
        else:
            self.container = av.open(self.growing, "w", format="mp4", options=GROWING)
        options = {"crf": "18", "preset": "veryfast", "tune": "zerolatency", "g": str(round(self.fps))}
        video = self.container.add_stream("libx264", rate=self.fps, options=options)
        video.width, video.height, video.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        video.time_base = 1 / self.fps
        self.video = video
        sound: Literal["pcm_s16le", "aac"] = "pcm_s16le" if self.file is None else "aac"
        self.audio = self.container.add_stream(sound, rate=RATE, layout="mono")
        self.samples = 0

    def __enter__(self) -> StreamWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for stream in (self.video, self.audio):
                    self.container.mux(stream.encode())
            with suppress(BrokenPipeError):  # who read it has gone
                self.container.close()
            if kind is None and self.temporary is not None and self.file is not None:
                self.temporary.replace(self.file)
        finally:  # its end may find no room, too
            if self.temporary is not None and self.growing is not None:
                self.growing.close()
                self.temporary.unlink(missing_ok=True)

    def hear(self, samples: Float[ndarray, " n"]) -> None:
        """The next sound, 48 kHz mono."""
        if not len(samples):
            return
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.samples, Fraction(1, RATE)
        self.samples += len(samples)
        self.container.mux(self.audio.encode(frame))

    def show(self, number: int, image: UInt8[ndarray, "H W 3"]) -> None:
        """A frame; odd sizes are padded by a repeated edge, which H.264 needs."""
        frame = video_frame(image)
        frame.pts, frame.time_base = number, 1 / self.fps
        self.container.mux(self.video.encode(frame))
