"""What a configuration names: its body model, its capture and its method."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import torch

from talkingavatar.body.models import Body, load_body
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.capture import Capture, Model
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.data.motion_clips import MotionClip, capture_clip, speaker_clip
from talkingavatar.data.speaker.record import speaker_capture
from talkingavatar.errors import UserError
from talkingavatar.methods import method_class
from talkingavatar.methods.base import Method, MethodContext
from talkingavatar.runtime.progress import ProgressBar


def build_body(config: FitConfig) -> Body:
    """
    Raises:
        UserError: as `load_body`.
    """
    return load_body(config.body.name, config.body.path, config.body.gender)


def build_data(config: FitConfig) -> CaptureData:
    """The capture of a configuration; the embedded one is made on first use."""
    if config.data.name == "speaker":
        with ExitStack() as stack:

            def progress(title: str, total: int) -> Callable[[], None]:
                return stack.enter_context(ProgressBar(title, total, config.trainer.progress)).advance

            folder = speaker_capture(config.data, progress)
    else:
        assert config.data.path is not None
        folder = Path(config.data.path).expanduser()
    return CaptureData(Capture(folder, config.data.cache_mb), config)


def build_clip(config: FitConfig, body: Body) -> MotionClip:
    """The speech and motion of a configuration's own speaker, without pictures.

    Raises:
        UserError: the capture was tracked with another body model.
    """
    model: Model = "flame" if "flame" in config.body.name else "smplx"
    if config.data.name == "speaker":
        return speaker_clip(config.data, config.audio, model, float(config.data.fps), config.data.heldout)
    assert config.data.path is not None
    return clip_of_capture(Path(config.data.path), config, model, body)


def clip_of_capture(folder: Path, config: FitConfig, model: Model, body: Body) -> MotionClip:
    """The same of a capture on disk.

    Raises:
        UserError: it was tracked with another body model.
    """
    capture = Capture(folder.expanduser(), cache_mb=1)
    tracked_with = capture.manifest.body.get(model, body.checksum)
    if tracked_with != body.checksum:
        expected = f"the model of checksum {tracked_with[:12]}, which {folder} was tracked with"
        found = f"{body.name} ({body.checksum[:12]})"
        raise UserError("body", found, expected, "give that model, or captures tracked with this one")
    return capture_clip(capture, config.audio, model)


def build_method(config: FitConfig, data: CaptureData, body: Body) -> Method:
    """The configured method for a capture and a body, untrained.

    Raises:
        UserError: the capture was tracked with another body model.
    """
    tracked_with = data.capture.manifest.body.get(data.model, body.checksum)
    if tracked_with != body.checksum:
        raise UserError(
            "body",
            f"{body.name} ({body.checksum[:12]})",
            f"the model of checksum {tracked_with[:12]}, which the capture was tracked with",
            "give that model by body=... body.path=..., or a capture tracked with this one",
        )
    capture = data.capture
    context = MethodContext(
        config=config,
        body=body,
        pose=capture.pose(list(range(capture.manifest.frames)), data.model),
        train_frames=data.train_frames,
        audio_channels=data.features.shape[-1],
        look=data.batch,
    )
    torch.manual_seed(config.seed)
    return method_class(config.method.name)(context)
