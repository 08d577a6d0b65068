"""Training pictures as bytes on the device that trains: each is decoded and sent once, not at every visit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import UInt8
from torch import Tensor

from talkingavatar.data.capture import Capture

Bytes = tuple[UInt8[Tensor, "B H W 3"], UInt8[Tensor, "B H W"]]  # pictures on the background, and mattes


def picture_bytes(capture: Capture, view: str, frames: Sequence[int]) -> Bytes:
    """Pictures and mattes of these frames by a view, as they are stored.

    Raises:
        UserError: one is missing or damaged.
    """
    images, mattes = zip(*capture.view_pictures(view, frames), strict=True)
    image, matte = (torch.stack([torch.from_numpy(pixels) for pixels in kind]) for kind in (images, mattes))
    return image, matte


class ResidentPictures:
    """The same on a device, kept there up to a budget; what does not fit is sent anew at each visit."""

    def __init__(self, capture: Capture, device: torch.device, most_mb: int) -> None:
        self.capture, self.device, self.left = capture, device, most_mb << 20
        self._kept: dict[tuple[str, int], Bytes] = {}

    def __call__(self, view: str, frames: Sequence[int]) -> Bytes:
        """Pictures and mattes of these frames by a view.

        Raises:
            UserError: as `picture_bytes`.
        """
        images, mattes = zip(*(self._one(view, frame) for frame in frames), strict=True)
        return torch.cat(images), torch.cat(mattes)

    def _one(self, view: str, frame: int) -> Bytes:
        if (kept := self._kept.get((view, frame))) is not None:
            return kept
        image, matte = (self._sent(pixels) for pixels in picture_bytes(self.capture, view, [frame]))
        size = image.nbytes + matte.nbytes
        if size <= self.left:
            self.left -= size
            self._kept[view, frame] = image, matte
        return image, matte

    def _sent(self, pixels: Tensor) -> Tensor:
        """From pinned memory, so that the host need not wait for what the GPU is at."""
        pinned = pixels.pin_memory() if self.device.type == "cuda" else pixels
        return pinned.to(self.device, non_blocking=True)
