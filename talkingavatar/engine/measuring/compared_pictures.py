"""The pictures that frames are compared with: the capture's own, or the true ones where a teacher drew those."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from talkingavatar.config.protocol import Condition
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.engine.measuring.unmeasurable import Unmeasurable
from talkingavatar.types import Batch

TRUTH = "truth"  # a capture's folder of what is true, laid out as the capture, where its own pictures are not


def compared_pictures(data: CaptureData, frames: list[int], condition: Condition) -> Callable[[int], Batch]:
    """What each of these frames is compared with.

    Raises:
        Unmeasurable: the capture has no such pictures.
    """
    capture, views = data.capture, data.capture.manifest.views
    view = condition.view or views[0]
    if view not in views:
        raise Unmeasurable(f"view {view}: the capture has {', '.join(views)}")
    if condition.reference == "captured" or not (capture.folder / TRUTH / "frames").is_dir():
        if missing := len(frames) - len(capture.seen_by(view, frames)):
            raise Unmeasurable(f"view {view}: it has no picture of {missing} of {len(frames)} held-out frames")
        return lambda frame: data.batch([frame], view=view)
    folder = capture.folder / TRUTH / "frames" / view
    if missing := sum(not (folder / f"{frame:06d}.png").is_file() for frame in frames):
        raise Unmeasurable(f"view {view}: no true picture of {missing} of {len(frames)} held-out frames")
    return lambda frame: _true(data, frame, view)


def _true(data: CaptureData, frame: int, view: str) -> Batch:
    """The true picture in place of the capture's own."""
    pictures = data.capture.pictures
    read = pictures.read(f"{TRUTH}/frames/{view}", frame, "RGB"), pictures.read(f"{TRUTH}/mattes/{view}", frame, "L")
    image, matte = on_background(data, *read)
    signal, cameras = data.signal([frame]), data.capture.cameras([frame], view)
    return Batch(signal, cameras, image[None], matte[None], data.background)


def on_background(
    data: CaptureData, pixels: UInt8[ndarray, "H W 3"], covered: UInt8[ndarray, "H W"]
) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W 1"]]:
    """A picture of a capture, and its matte, on the run's background instead of the capture's own."""
    image, matte = torch.from_numpy(pixels).float() / 255, torch.from_numpy(covered).float()[..., None] / 255
    image = image + (1 - matte) * (data.background - torch.tensor(data.capture.manifest.background))
    return image.clamp(0, 1), matte
