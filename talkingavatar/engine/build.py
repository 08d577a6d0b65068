"""What a configuration names: its body model, its capture and its method."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import torch

from talkingavatar.body.models import Body, load_body
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.capture import Capture, Model
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.data.motion_clips import MotionClip, capture_clip
from talkingavatar.data.sources import source_of
from talkingavatar.errors import UserError
from talkingavatar.methods import method_class
from talkingavatar.methods.base import Method
from talkingavatar.methods.context import MethodContext
from talkingavatar.runtime.progress import ProgressBar


def build_body(config: FitConfig) -> Body:
    """
    Raises:
        UserError: as `load_body`.
    """
    return load_body(config.body.name, config.body.path, config.body.gender)


def build_capture(config: FitConfig) -> Capture:
    """The capture of a configuration, made on first use where its source makes it."""
    with ExitStack() as stack:

        def progress(title: str, total: int) -> Callable[[], None]:
            return stack.enter_context(ProgressBar(title, total, config.trainer.progress)).advance

        return source_of(config.data).open(config.data, progress)


def build_data(config: FitConfig, body: Body | None = None) -> CaptureData:
    """The same, ready to be trained on; `body`: the configuration's, where it is there already.

    Raises:
        UserError: the capture was tracked with another body model.
    """
    return CaptureData(_made_up_for(build_capture(config), config, body or build_body(config)), config)


def build_clip(config: FitConfig, body: Body) -> MotionClip:
    """A configuration's own speech and motion; no picture is drawn where they are known before.

    Raises:
        UserError: the capture was tracked with another body model.
    """
    known = source_of(config.data).motion(config.data, config.audio, model_of(config))
    return clip_of(build_capture(config), config, body) if known is None else known


def clip_of(capture: Capture, config: FitConfig, body: Body) -> MotionClip:
    """The same of a capture, as a configuration hears it.

    Raises:
        UserError: it was tracked with another body model.
    """
    return capture_clip(_made_up_for(capture, config, body), config.audio, model_of(config))


def _made_up_for(capture: Capture, config: FitConfig, body: Body) -> Capture:
    """A capture of this body whose faces are as its landmarks show them, where that is asked for."""
    model = model_of(config)
    tracked_with = capture.manifest.body.get(model, body.checksum)
    if tracked_with != body.checksum:
        raise UserError(
            "body",
            f"{body.name} ({body.checksum[:12]})",
            f"the model of checksum {tracked_with[:12]}, which {capture.folder} was tracked with",
            "give that model by body=... body.path=..., or a capture tracked with this one",
        )
    capture.make_up(body, model, config.data.shape_shift, config.data.face_gains)
    return capture


def model_of(config: FitConfig) -> Model:
    """Whose parameters a body has."""
    return "flame" if "flame" in config.body.name else "smplx"


def build_method(config: FitConfig, data: CaptureData, body: Body) -> Method:
    """The configured method for a capture and a body, to be begun or loaded."""
    capture = data.capture
    context = MethodContext(
        config=config,
        body=body,
        pose=capture.pose(list(range(capture.manifest.frames)), data.model),
        train_frames=data.train_frames,
        audio_channels=data.features.shape[-1],
        look=data.batch,
        latent=data.tables.get("latent"),
        actions=data.tables.get("actions"),
    )
    torch.manual_seed(config.seed)
    return method_class(config.method.name)(context)
