"""Small clips made here: every frame carries its own number, so that a test can tell which one it got."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 8  # of a frame's number, drawn as a row of blocks along the top, below them a gradient


def numbered(number: int, width: int = 160, height: int = 96) -> np.ndarray:
    """A picture whose upper third shows the number in black and white blocks; red to the left, blue at the bottom."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = np.linspace(220, 20, width)[None].astype(np.uint8)
    picture[..., 2] = np.linspace(20, 220, height)[:, None].astype(np.uint8)
    block = width // BITS
    for bit in range(BITS):
        picture[: height // 3, bit * block : (bit + 1) * block] = 255 if number >> bit & 1 else 0
    return picture


def number_of(picture: np.ndarray) -> int:
    """The number drawn by `numbered`."""
    height, width = picture.shape[:2]
    blocks = picture[height // 9 : height // 4, : width // BITS * BITS].mean(axis=(0, 2)).reshape(BITS, -1)
    return sum(1 << bit for bit in range(BITS) if np.median(blocks[bit]) > 127)


def tone(seconds: float, rate: int = 16_000) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 300 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write_video(
    file: Path,
    pictures: list[np.ndarray],
    fps: int = 25,
    times: list[float] | None = None,
    sound: np.ndarray | None = None,
    rate: int = 16_000,
    sound_start: float = 0.0,
    codec: str = "libx264",
) -> Path:
    """Pictures at `times` (seconds; else at `fps`) with mono `sound` from `sound_start` on."""
    base = Fraction(1, 90_000)
    times = [i / fps for i in range(len(pictures))] if times is None else times
    with av.open(str(file), "w") as container:
        video = container.add_stream(codec, rate=fps, options={"crf": "12"})
        video.height, video.width, video.pix_fmt = *pictures[0].shape[:2], "yuv420p"
        video.codec_context.time_base = base
        audio = None
        if sound is not None:
            audio = container.add_stream("aac", rate=rate, layout="mono")
        for time, picture in zip(times, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = round(time / base), base
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            frame = av.AudioFrame.from_ndarray(np.asarray(sound, np.float32)[None], format="fltp", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(sound_start * rate)
            container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return file


def rotate(file: Path, degrees: int) -> Path:
    """Write a display matrix that turns the picture clockwise into an mp4's first track header, as phones do."""
    a, b, c, d = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    content = bytearray(file.read_bytes())
    at = content.index(b"tkhd") + 4 + 4 + 20 + 8 + 8  # version and flags, times and duration, reserved, layer to volume
    one = 1 << 16
    content[at : at + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    file.write_bytes(content)
    return file
