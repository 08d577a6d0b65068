"""A fitted avatar gives a new performance: frames to mp4 with sound, and how well its lips follow the sound."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import ImageColor
from torch import Tensor

from talkingavatar.body.action_units import NamedFace, is_named
from talkingavatar.body.lips import LipRuler
from talkingavatar.engine.driver import heard_of
from talkingavatar.engine.fitted import FittedRun, load_run
from talkingavatar.engine.measuring.lip_sync import LipSync, lip_sync, loudness_of
from talkingavatar.engine.media.writer import VideoWriter
from talkingavatar.engine.performing.fast import Fast
from talkingavatar.engine.performing.performance import (
    SOUND_RATE,
    OpenedRequest,
    Performance,
    Request,
    open_request,
    prepare,
    unheard_sound,
)
from talkingavatar.engine.performing.unit_curves import write_units
from talkingavatar.errors import UserError
from talkingavatar.runtime.files import write_atomically
from talkingavatar.runtime.progress import ProgressBar
from talkingavatar.runtime.threads import in_order
from talkingavatar.splatting import paint
from talkingavatar.types import Cameras, DrivingSignal, Gaussians

Drawn = tuple[UInt8[ndarray, "H W 3"], list[Tensor]]  # a picture, and where the lips are, upper and lower
PIPE = Path("-")  # as sound: standard input, spoken as it comes; as video: standard output


@dataclass(frozen=True)
class DriveConfig:
    """What `drive` is given."""

    run: Path
    request: Request = field(default_factory=Request)
    background: str | None = None  # a colour by name or #rrggbb, or "plate"; None: the run's own
    out: Path | None = None  # mp4 file; None: in the run's media folder
    fast: bool = False  # from the avatar's baked arrays
    live: bool = False  # of sound through a pipe: pictures that would come too late are left out
    progress: bool = True


@dataclass(frozen=True)
class Driven:
    """What came of it."""

    video: Path
    report: dict[str, Any]


def drive(config: DriveConfig) -> list[Driven]:
    """Render a performance, or each sample of it; a video, its report (json) and its face's
    action units (au.csv, as OpenFace writes them) beside it appear when they are whole.

    Raises:
        UserError: a mistake in what was given.
    """
    opened = open_request(config.request)
    trained = load_run(config.run)
    background = background_of(config.background, trained)
    names = [given.stem for given in (config.request.audio, config.request.motion) if given is not None]
    video = video_file(config.out, names, trained)
    fast = Fast(trained) if config.fast else None
    performances = prepare(trained, opened)
    videos = [video]
    if len(performances) > 1:
        videos = [video.with_stem(f"{video.stem}-{number}") for number in range(1, len(performances) + 1)]
    return [
        _driven(config, trained, performance, background, file, config.request.seed + number, fast)
        for number, (performance, file) in enumerate(zip(performances, videos, strict=True))
    ]


def _driven(
    config: DriveConfig,
    trained: FittedRun,
    performance: Performance,
    background: Float[Tensor, "#H #W 3"] | None,
    video: Path,
    seed: int,
    fast: Fast | None = None,
) -> Driven:
    likeness = None if fast is None else fast.likeness(performance.signal, performance.cameras)
    began = time.monotonic()
    openings = film(trained, performance, video, background, config.progress, fast)
    spent = time.monotonic() - began
    report = {
        "run": str(trained.run.path),
        "audio": _text(config.request.audio),
        "motion": _text(config.request.motion),
        "seed": seed,
        "edit": {name: _text(value) for name, value in vars(config.request.edit).items()},
        "notes": performance.notes,
        "seconds": len(performance) / performance.fps,
        "frames": len(performance),
        "fps": performance.fps,
        "frames_per_s": len(performance) / spent,
        "fast_psnr_db": likeness,
        "lips": [row.row() for row in _lips(trained, performance, openings)],
        "mouth": None if performance.driver is None else performance.driver.report(),
    }
    if is_named(trained.body.expression_names):
        units = NamedFace(trained.body).units(performance.signal.pose)
        write_units(video.with_suffix(".au.csv"), units, performance.fps)
    write_atomically(video.with_suffix(".json"), json.dumps(report, indent=1))
    return Driven(video, report)


def speak(trained: FittedRun, seconds: float = 8.0) -> Path:
    """A video of speech that was not trained on: what the person says next, else held-out speech anew."""
    sound = unheard_sound(trained.data, trained.data.config.data, seconds)
    (performance,) = prepare(trained, OpenedRequest(Request(), sound, None))
    file = trained.run.media / "speech.mp4"
    film(trained, performance, file, progress=trained.data.config.trainer.progress)
    return file


class Painter:
    """Draws Gaussians as one camera sees them, before a background."""

    def __init__(self, trained: FittedRun, cameras: Cameras, background: Float[Tensor, "#H #W 3"] | None) -> None:
        """
        Args:
            background: None, the run's own.
        """
        self.method, device = trained.method, trained.method.device
        self.camera, self.drawn = cameras.to(device), trained.data.config.renderer
        self.background = (trained.method.background[None, None] if background is None else background).to(device)

    @torch.no_grad()
    def __call__(self, gaussians: Gaussians) -> UInt8[ndarray, "H W 3"]:
        seen, drawn = self.method.seen(gaussians, self.camera), self.drawn
        return paint(seen, self.camera, self.background, drawn.mode, drawn.backend)


@torch.no_grad()
def film(
    trained: FittedRun,
    performance: Performance,
    file: Path,
    background: Float[Tensor, "#H #W 3"] | None = None,
    progress: bool = False,
    fast: Fast | None = None,
) -> Float[ndarray, " L"] | None:
    """Draw frame by frame into the video; lip opening of the Gaussians, where they know their vertices.

    Args:
        fast: what gives the Gaussians in place of the method.
    """
    method, device = trained.method, trained.method.device
    painter = Painter(trained, performance.cameras, background)
    ruler, parent = LipRuler(method.body), method.vertices_of()
    lips = ruler.carried(parent) if ruler.known and parent is not None else None
    between: list[Tensor] = []

    def drawn(gaussians: Gaussians) -> Drawn:
        return painter(gaussians), [gaussians.means[lip].mean(0) for lip in lips or ()]

    signals = (performance.signal[t : t + 1].to(device) for t in range(len(performance)))
    shown = map(method.drive, signals) if fast is None else fast.frames(performance.signal)
    sound = performance.sound.astype(np.float32)
    with (
        VideoWriter(file, performance.fps, sound, SOUND_RATE) as video,
        ProgressBar("frames", len(performance), progress) as bar,
        closing(_side_by_side(drawn, shown, device)) as frames,
    ):
        for picture, here in frames:
            video.write(picture)
            if lips is not None:
                upper, lower = here
                between.append(upper - lower)
            bar.advance()
    return ruler.of_drawn(torch.stack(between), performance.signal.pose.to(device)) if lips is not None else None


def _side_by_side(
    work: Callable[[Gaussians], Drawn], shown: Iterable[Gaussians], device: torch.device
) -> Generator[Drawn, None, None]:
    """In order, each thread at frames of its own: one that is spread over all of them waits for what one does alone."""
    threads = torch.get_num_threads()
    try:
        workers = threads if device.type == "cpu" else 1
        yield from in_order(work, shown, workers, begin=partial(torch.set_num_threads, 1))
    finally:
        torch.set_num_threads(threads)  # of threads to come


def _lips(trained: FittedRun, performance: Performance, drawn: Float[ndarray, " L"] | None) -> list[LipSync]:
    """The new performance beside the capture's held-out frames, as tracked and as the driver foretells them."""
    body, data = trained.body, trained.data
    ruler = LipRuler(body)
    if not ruler.known:
        return []
    capture, fps, rows = data.capture, performance.fps, []
    heldout = [frame for start, stop, _ in capture.manifest.test for frame in range(start, stop)]
    sound = loudness_of(capture.audio, fps, capture.manifest.frames)[heldout]
    tracked = capture.pose(heldout, data.model)
    rows.append(lip_sync("held-out, as tracked", ruler.of_body(tracked), sound, fps))
    if performance.driver is not None:
        signal = DrivingSignal(torch.tensor(heldout), tracked)
        foretold = performance.driver.foretell(signal, heard_of(data, heldout))
        rows.append(lip_sync("held-out, from its sound", ruler.of_body(foretold.pose), sound, fps))
    sound = loudness_of(performance.speech, fps, len(performance))
    rows.append(lip_sync("performance, body", ruler.of_body(performance.signal.pose), sound, fps))
    if drawn is not None:
        rows.append(lip_sync("performance, Gaussians", drawn, sound, fps))
    return rows


def background_of(given: str | None, trained: FittedRun) -> Float[Tensor, "#H #W 3"] | None:
    """The colour or picture behind the avatar; None, the run's own."""
    if given is None:
        return None
    if given != "plate":
        try:
            return torch.tensor(ImageColor.getrgb(given)[:3])[None, None] / 255
        except ValueError as error:
            expected = "a colour (white, #rrggbb) or plate"
            raise UserError("background", repr(given), expected, "correct it") from error
    capture = trained.data.capture
    plate = capture.background()
    if plate is None:
        raise UserError("background", f"no plate in {capture.folder}", "background.png in it", "give a colour instead")
    return torch.from_numpy(plate).float() / 255


def video_file(out: Path | None, names: Sequence[str], trained: FittedRun) -> Path:
    """Where the video goes; its folder exists and can be written.

    Args:
        names: of what is performed, for a file that has none given.
    """
    file = out or trained.run.media / f"{'-'.join(['drive', *names])}.mp4"
    if file.suffix != ".mp4":
        raise UserError("out", str(file), "a file that ends in .mp4", "correct it")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.with_suffix(".tmp.mp4").open("wb"):
            pass
        file.with_suffix(".tmp.mp4").unlink()
    except OSError as error:
        expected = "a file in a folder that can be written"
        raise UserError("out", f"{file}: {error.strerror}", expected, "choose another") from error
    return file


def _text(path: Path | str | None) -> str | None:
    return None if path is None else str(path)
