"""A fitted run, or a baked file alone, as a page shows it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image

from talkingavatar.data.capture import RATE, Capture
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.engine.fitted import FittedRun, load_run
from talkingavatar.engine.performing.performance import SOUND_RATE, Performance, Request, open_request, prepare
from talkingavatar.engine.performing.speech import speaker_of
from talkingavatar.errors import UserError
from talkingavatar.viewer.shown import Baked, Camera, Live, Shown, rows_of
from talkingavatar.viewer.speaking import live_of

MAGIC, EXTENSION = b"glTF", b'"KHR_gaussian_splatting"'
QUALITY = 88  # of the pictures that are sent


@dataclass(frozen=True)
class Opener:
    """How what is to be shown is opened."""

    bake: Callable[[FittedRun], Baked]
    request: Request | None = None  # what is performed; None: the run's own capture

    def __call__(self, place: Path) -> Shown:
        """
        Raises:
            UserError: it is no run with a checkpoint and no baked file, or what is to be performed does not serve.
        """
        if place.suffix.lower() == ".glb":
            return _file(place)
        opened = None if self.request is None else open_request(self.request)
        trained = load_run(place)
        baked = self.bake(trained)
        live, notes = _live(trained, baked)
        performance = None if opened is None else prepare(trained, opened)[0]
        return replace(shown_of(trained, baked, performance, notes), live=live)


def _file(place: Path) -> Shown:
    try:
        content = place.read_bytes()
    except OSError as error:
        expected = "a baked avatar, or the folder of a run"
        raise UserError("run", f"{place}: {error.strerror}", expected, "correct the path") from error
    if content[:4] != MAGIC or EXTENSION not in content:
        expected = "a glTF file with KHR_gaussian_splatting"
        raise UserError("run", f"{place}, another kind of file", expected, "give one, or the folder of a run")
    return Shown(place.stem, content, notes=["a file alone: no capture, no sound, nobody who speaks"])


def shown_of(trained: FittedRun, baked: Baked, performance: Performance | None, notes: list[str]) -> Shown:
    """What is performed, or else the run's own capture beside its pictures; nobody speaks live."""
    name, cameras = trained.run.path.absolute().name, cameras_of(trained.data)
    background = trained.data.config.renderer.background
    if performance is not None:
        return Shown(
            name,
            baked.glb,
            performance.fps,
            rows_of(baked.motion(performance.signal)),
            sound=wav(performance.sound, SOUND_RATE),
            cameras=cameras,
            background=background,
            notes=[*performance.notes, *notes],
        )
    capture, frames = trained.data.capture, trained.data.capture.manifest.frames
    return Shown(
        name,
        baked.glb,
        capture.manifest.fps,
        rows_of(baked.motion(trained.data.signal(list(range(frames))))),
        [(span.start, span.stop) for span in capture.manifest.test],
        wav(capture.audio, RATE),
        cameras,
        lambda frame: jpeg(capture, frame),
        background,
        notes=notes,
    )


def _live(trained: FittedRun, baked: Baked) -> tuple[Live | None, list[str]]:
    """How it speaks as it hears; else why it does not."""
    try:
        return live_of(speaker_of(trained), baked.motion), []
    except UserError as error:
        return None, [str(error)]


def cameras_of(data: CaptureData) -> list[Camera]:
    """Of every view; the first is the one that the pictures are by."""
    manifest, found = data.capture.manifest, []
    for view in manifest.views:
        cameras = data.capture.cameras(list(range(manifest.frames)), view)
        tables = [table.reshape(len(table), -1).numpy() for table in (cameras.viewmats, cameras.Ks)]
        still = all((table == table[:1]).all() for table in tables)
        viewmats, Ks = (
            [[round(float(x), 6) for x in row] for row in (table[:1] if still else table)] for table in tables
        )
        found.append(Camera(view, viewmats, Ks, manifest.width, manifest.height))
    return found


def jpeg(capture: Capture, frame: int) -> bytes:
    """The picture of a frame by the first view.

    Raises:
        UserError: it is missing or damaged.
    """
    file = io.BytesIO()
    Image.fromarray(capture.frame(frame)).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def wav(samples: Float[ndarray, " N"], rate: int) -> bytes:
    """A sound as a browser decodes it, 16 bits."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples).clip(-1, 1), rate, subtype="PCM_16", format="WAV")
    return file.getvalue()
