"""Pictures and videos of a finished fit."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

from talkingavatar.data.capture import RATE
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.engine.measuring.held_out import evenly
from talkingavatar.engine.media.writer import VideoWriter
from talkingavatar.geometry.cameras import orbit
from talkingavatar.methods.base import Method
from talkingavatar.methods.knobs import Knob
from talkingavatar.metrics.image import crop_slices
from talkingavatar.runtime.files import whole
from talkingavatar.runtime.progress import ProgressBar
from talkingavatar.splatting import to_bytes
from talkingavatar.types import Cameras, DrivingSignal

Picture = UInt8[ndarray, "H W 3"]
TURNTABLE_FRAMES = 50
ASIDE = math.radians(45)  # to either side, while the person talks
SWEEP = ("mouthSmileLeft", "jawOpen", "browInnerUp", "mouthPucker", "eyeBlinkLeft")
SWEPT = 5  # values of each


@torch.no_grad()
def write_media(method: Method, data: CaptureData, folder: Path, check: Callable[[], None]) -> list[Path]:
    """Side-by-side video with sound, a turn, turntable, expression sweep, contact sheet. `check` may raise to stop."""
    most = data.config.budget.media_frames or None
    frames, turns = data.capture.test_frames[:most], min(TURNTABLE_FRAMES, most or TURNTABLE_FRAMES)
    total = len(frames) + 2 * turns + len(_swept(method)) * SWEPT + 4
    with ProgressBar("media", total, data.config.trainer.progress) as bar:

        def tick() -> None:
            check()
            bar.advance()

        return [
            _side_by_side(method, data, frames, folder / "side_by_side.mp4", tick),
            _turn(method, data, frames[:turns], folder / "turn.mp4", tick),
            _turntable(method, data, turns, folder / "turntable.mp4", tick),
            _expression_sweep(method, data, folder / "expression_sweep.png", tick),
            _contact_sheet(method, data, folder / "contact_sheet.png", tick),
        ]


def draw(method: Method, signal: DrivingSignal, cameras: Cameras) -> Picture:
    """One rendered frame, 8 bit."""
    rendering = method.render(method.drive(signal.to(method.device)), cameras.to(method.device))
    return to_bytes(rendering.rgb[0])


def label(picture: Picture, text: str) -> UInt8[ndarray, "H+24 W 3"]:
    """The picture under a strip with a caption."""
    strip = Image.new("RGB", (picture.shape[1], 24), "white")
    ImageDraw.Draw(strip).text((6, 4), text, fill="black", font=ImageFont.load_default(14))
    return np.concatenate([np.asarray(strip), picture])


def _side_by_side(method: Method, data: CaptureData, frames: list[int], file: Path, tick: Callable[[], None]) -> Path:
    """Held-out ground truth beside the render, with the sound of those frames."""
    capture = data.capture
    fps = capture.manifest.fps
    sound = capture.audio[round(frames[0] / fps * RATE) :]
    with VideoWriter(file, fps, sound) as video:
        for frame in frames:
            drawn = draw(method, data.signal([frame]), capture.cameras([frame]))
            pair = [label(capture.frame(frame), "ground truth"), label(drawn, data.config.experiment)]
            video.write(np.concatenate(pair, 1))
            tick()
    return file


def _turn(method: Method, data: CaptureData, frames: list[int], file: Path, tick: Callable[[], None]) -> Path:
    """Held-out motion while the camera goes from the middle to one side, to the other and back."""
    capture = data.capture
    centre = method.drive(data.signal(frames[:1]).to(method.device)).means.mean(0).cpu()
    with VideoWriter(file, capture.manifest.fps) as video:
        for i, frame in enumerate(frames):
            angle = ASIDE * math.sin(2 * math.pi * i / len(frames))
            video.write(draw(method, data.signal([frame]), orbit(capture.cameras([frame]), centre, angle)))
            tick()
    return file


def _turntable(method: Method, data: CaptureData, count: int, file: Path, tick: Callable[[], None]) -> Path:
    """The camera once round the subject, who stands still in the most neutral held-out frame."""
    capture = data.capture
    poses = capture.pose(capture.test_frames, data.model)
    calm = capture.test_frames[int(poses.expression.abs().sum(1).argmin())]
    signal, camera = data.signal([calm]), capture.cameras([calm])
    centre = method.drive(signal.to(method.device)).means.mean(0).cpu()
    with VideoWriter(file, 25) as video:
        for i in range(count):
            video.write(draw(method, signal, orbit(camera, centre, 2 * math.pi * i / count)))
            tick()
    return file


def _swept(method: Method) -> list[Knob]:
    knobs = method.knobs()
    return [knob for name in SWEEP for knob in knobs if knob.name == name] or knobs[:5]


def _expression_sweep(method: Method, data: CaptureData, file: Path, tick: Callable[[], None]) -> Path:
    """One knob a row, swept with all else neutral (as the paper's figure 6), head crops."""
    capture = data.capture
    frame = capture.test_frames[0]
    neutral, camera, head = data.unsaid(frame), capture.cameras([frame]), _head(data, frame)
    sheet = []
    for knob in _swept(method):
        row = []
        for value in np.linspace(knob.low, knob.high, SWEPT).tolist():
            drawn = draw(method, knob.turn(neutral, value), camera)[head]
            row.append(label(_enlarge(drawn, 192), f"{knob.name} {value:+.1f}"))
            tick()
        sheet.append(np.concatenate(row, 1))
    with whole(file) as temporary:
        Image.fromarray(np.concatenate(sheet)).save(temporary)
    return file


def _contact_sheet(method: Method, data: CaptureData, file: Path, tick: Callable[[], None]) -> Path:
    """Held-out frames: ground truth, render, error x4, and both heads."""
    capture = data.capture
    sheet = []
    for frame in evenly(capture.test_frames, 4):
        truth = capture.frame(frame)
        drawn = draw(method, data.signal([frame]), capture.cameras([frame]))
        error = np.clip(np.abs(truth.astype(int) - drawn) * 4, 0, 255).astype(np.uint8)
        crop = _head(data, frame)
        heads = [_enlarge(picture[crop], truth.shape[0]) for picture in (truth, drawn)]
        titles = ("ground truth", "render", "error x4", "head, ground truth", "head, render")
        pictures = (truth, drawn, error, *heads)
        sheet.append(np.concatenate([label(p, f"{t} {frame}") for p, t in zip(pictures, titles, strict=True)], 1))
        tick()
    with whole(file) as temporary:
        Image.fromarray(np.concatenate(sheet)).save(temporary)
    return file


def _head(data: CaptureData, frame: int) -> tuple[slice, slice]:
    """Rows and columns of the head; of the whole frame where it is out of sight."""
    box, manifest = data.capture.regions["head"][frame], data.capture.manifest
    if not np.isfinite(box).all():
        return slice(None), slice(None)
    return crop_slices(box, manifest.height, manifest.width)


def _enlarge(picture: Picture, size: int) -> UInt8[ndarray, "S S 3"]:
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize((size, size), Image.Resampling.LANCZOS))
