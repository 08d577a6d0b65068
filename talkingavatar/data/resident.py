"""Training pictures as bytes on the device that trains: each is decoded and sent once, not at every visit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from talkingavatar.data.capture import Capture


class Bytes(NamedTuple):
    """Pictures of B frames as a capture stores them."""

    image: UInt8[Tensor, "B H W 3"]  # on the capture's background
    matte: UInt8[Tensor, "B H W"]
    confidence: Float[Tensor, "B H W"] | None = None  # [0, 1]


def picture_bytes(capture: Capture, view: str, frames: Sequence[int], confidence: bool = False) -> Bytes:
    """Pictures and mattes of these frames by a view, as they are stored.

    Args:
        confidence: whether it is wanted; the capture may have none.

    Raises:
        UserError: one is missing or damaged.
    """
    images, mattes = zip(*capture.view_pictures(view, frames), strict=True)
    image, matte = (torch.stack([torch.from_numpy(pixels) for pixels in kind]) for kind in (images, mattes))
    believed = [capture.confidence(frame, view) for frame in frames] if confidence else []
    known = [values for values in believed if values is not None]
    return Bytes(image, matte, torch.from_numpy(np.stack(known)) if known else None)


class ResidentPictures:
    """The same on a device, kept there up to a budget; what does not fit is sent anew at each visit."""

    def __init__(self, capture: Capture, device: torch.device, most_mb: int, confidence: bool = False) -> None:
        self.capture, self.device, self.left, self.confidence = capture, device, most_mb << 20, confidence
        self._kept: dict[tuple[str, int], Bytes] = {}

    def __call__(self, view: str, frames: Sequence[int]) -> Bytes:
        """Pictures and mattes of these frames by a view.

        Raises:
            UserError: as `picture_bytes`.
        """
        images, mattes, believed = zip(*(self._one(view, frame) for frame in frames), strict=True)
        known = [values for values in believed if values is not None]
        return Bytes(torch.cat(images), torch.cat(mattes), torch.cat(known) if known else None)

    def _one(self, view: str, frame: int) -> Bytes:
        if (kept := self._kept.get((view, frame))) is not None:
            return kept
        image, matte, believed = picture_bytes(self.capture, view, [frame], self.confidence)
        sent = Bytes(self._sent(image), self._sent(matte), None if believed is None else self._sent(believed))
        size = sum(pixels.nbytes for pixels in sent if pixels is not None)
        if size <= self.left:
            self.left -= size
            self._kept[view, frame] = sent
        return sent

    def _sent(self, pixels: Tensor) -> Tensor:
        """From pinned memory, so that the host need not wait for what the GPU is at."""
        pinned = pixels.pin_memory() if self.device.type == "cuda" else pixels
        return pinned.to(self.device, non_blocking=True)
