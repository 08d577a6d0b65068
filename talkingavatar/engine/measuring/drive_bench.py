"""Where the time of a driven frame goes: new speech to a video, by part."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import soundfile

from talkingavatar.audio.speech import load_speech, voices
from talkingavatar.engine.fitted import load_run
from talkingavatar.engine.measuring.clock import REST, Clock, table
from talkingavatar.engine.media.writer import VideoWriter
from talkingavatar.engine.performing.perform import film
from talkingavatar.engine.performing.performance import Request, open_request, prepare

WARM = 3  # frames before those that count
PARTS = ("audio", "drive", "rasterise", "encode", REST)


def bench_drive(run: Path, frames: int) -> list[dict[str, Any]]:
    """Drive the avatar of a run with speech it never heard.

    Returns:
        A row a part, the whole last: milliseconds a frame, share; the whole's with `Gaussians` and `frames/s`.

    Raises:
        UserError: the run has no avatar, or none with a checkpoint yet.
    """
    trained = load_run(run)
    method, fps = trained.method, trained.data.capture.manifest.fps
    speech = load_speech(voices()[1]).excerpt(0.0, frames / fps)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "speech.wav"
        soundfile.write(sound, speech.samples, speech.rate)
        opened = open_request(Request(audio=sound))
        (performance,) = prepare(trained, opened)  # also makes what the run keeps: the mouth model
        few = replace(performance, signal=performance.signal[:WARM])
        film(trained, few, Path(folder) / "warm.mp4")
        for owner, name, part in ((method, "drive", "drive"), (method, "render", "rasterise")):
            clock.time(owner, name, part)
        clock.time(VideoWriter, "write", "encode")
        try:
            clock.reset()
            with clock.part("audio"):
                (performance,) = prepare(trained, opened)
            film(trained, performance, Path(folder) / "speech.mp4")
            clock.switch(REST)
        finally:
            clock.release()
    rows = table(clock.seconds, PARTS, len(performance), "frame")
    count = len(method.gaussians["means"])
    rows[-1] |= {"Gaussians": count, "frames/s": len(performance) / sum(clock.seconds.values())}
    return rows
