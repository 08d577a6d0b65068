"""The pictures that frames are compared with: the capture's own, or true ones from any side."""

from __future__ import annotations

from collections.abc import Callable

import torch

from talkingavatar.config.protocol import Condition
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.data.speaker.views import side_views
from talkingavatar.engine.measuring.unmeasurable import Unmeasurable
from talkingavatar.types import Batch

FRONT = 0.0  # degrees


def compared_pictures(
    data: CaptureData, frames: list[int], condition: Condition, tick: Callable[[], None]
) -> Callable[[int], Batch]:
    """What each of these frames is compared with; `tick` is called after each that had to be made.

    Raises:
        Unmeasurable: the capture has no such pictures.
    """
    if condition.reference == "captured":
        if condition.view is not None:
            raise Unmeasurable(f"view {condition.view}: the capture has one camera alone")
        return lambda frame: data.batch([frame])
    try:
        degrees = FRONT if condition.view is None else float(condition.view)
    except ValueError:
        raise Unmeasurable(f"view {condition.view}: the capture has no true picture from such a camera") from None
    return true_pictures(data, frames, degrees, tick)


def true_pictures(
    data: CaptureData, frames: list[int], degrees: float, tick: Callable[[], None]
) -> Callable[[int], Batch]:
    """From `degrees` to the person's left, drawn on first use.

    Raises:
        Unmeasurable: the capture has none.
    """
    if data.config.data.name != "speaker":
        raise Unmeasurable("no true picture from the side: only the embedded speaker has one")
    side_views(data.config.data, data.capture, frames, degrees, tick)  # at once: to make the scene takes seconds

    def batch(frame: int) -> Batch:
        (view,) = side_views(data.config.data, data.capture, [frame], degrees, lambda: None)
        matte = torch.from_numpy(view.matte).float()[..., None] / 255
        image = torch.from_numpy(view.image).float() / 255 + (1 - matte) * (data.background - 1)
        return Batch(data.signal([frame]), view.cameras, image.clamp(0, 1)[None], matte[None], data.background)

    return batch
