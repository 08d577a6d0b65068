"""Frames and sound to an mp4 that plays everywhere (H.264, AAC)."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from talkingavatar.engine.media.yuv import video_frame


class VideoWriter:
    """Streams frames into an mp4, with `sound` (mono, [-1, 1]) along; under another name until it is whole."""

    def __init__(
        self,
        file: Path,
        fps: float,
        sound: Float[ndarray, " N"] | None = None,
        rate: int = 16_000,
        crf: int = 18,
    ) -> None:
        self.file, self.temporary = file, file.with_suffix(".tmp.mp4")
        self.fps, self.sound, self.rate, self.crf = Fraction(fps).limit_denominator(1001), sound, rate, crf
        self.container = av.open(str(self.temporary), "w", format="mp4")
        self.video: av.VideoStream | None = None
        self.frames = 0

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
            self.container.close()
            if kind is None:
                self.temporary.replace(self.file)
        finally:  # its end may find no room, too
            self.temporary.unlink(missing_ok=True)

    def write(self, image: UInt8[ndarray, "H W 3"]) -> None:
        """One frame; odd sizes are padded by a repeated edge, which H.264 needs."""
        frame = video_frame(image)
        if self.video is None:
            self._open(frame.width, frame.height)
        assert self.video is not None
        frame.pts, frame.time_base = self.frames, 1 / self.fps
        self.frames += 1
        self.container.mux(self.video.encode(frame))

    def _open(self, width: int, height: int) -> None:
        # A diamond of places looked at for motion, in place of a hexagon: as large and as good, in 0.9 of the time.
        options = {"crf": str(self.crf), "preset": "veryfast", "x264-params": "me=dia"}
        video = self.container.add_stream("libx264", rate=self.fps, options=options)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.time_base = 1 / self.fps
        self.video = video
        if self.sound is not None:
            self.audio = self.container.add_stream("aac", rate=self.rate, layout="mono")

    def _finish(self) -> None:
        if self.video is None:
            raise ValueError(f"{self.file}: a video of no frames")
        self.container.mux(self.video.encode())
        if self.sound is None:
            return
        length = round(self.frames / self.fps * self.rate)
        samples = np.zeros(length, np.float32)
        kept = self.sound[:length]
        samples[: len(kept)] = kept
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = self.rate, 0, Fraction(1, self.rate)
        self.container.mux(self.audio.encode(frame))
        self.container.mux(self.audio.encode())
