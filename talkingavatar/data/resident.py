"""Training frames that stay on a GPU: a step takes what it needs there and waits for no copy."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from talkingavatar.data.capture import Capture
from talkingavatar.types import Batch, Cameras, DrivingSignal, sent

MOST_BYTES = 8 << 30  # of pictures that are kept; those beyond are sent again at each visit


class ResidentFrames:
    """Signals and cameras are sent at the start, pictures (8 bit) when they are first asked for."""

    def __init__(
        self,
        capture: Capture,
        frames: list[int],
        signal: DrivingSignal,
        motion: DrivingSignal | None,
        background: Float[Tensor, " 3"],
        device: torch.device,
    ) -> None:
        """
        Args:
            frames: of the capture.
            signal: what drives them.
            motion: how that changes while the shutter is open, where it is asked for.
            background: that they are shown on unless a step asks for another.
            device: where they are to be.
        """
        self.capture, self.device, self.background = capture, device, background
        self._stored = torch.tensor(capture.manifest.background)
        self._behind, self._stored_there = sent(background, device), sent(self._stored, device)
        self._row = {frame: row for row, frame in enumerate(frames)}
        self._signal, self._motion = signal.to(device), None if motion is None else motion.to(device)
        self._cameras: dict[str, Cameras] = {}
        self._pictures: dict[tuple[str, int], UInt8[Tensor, "H W 4"]] = {}

    def batch(self, frames: list[int], background: Float[Tensor, " 3"] | None = None, view: str | None = None) -> Batch:
        """As `CaptureData.batch`, with motion where it is asked for."""
        view = view or self.capture.manifest.views[0]
        rows = [self._row[frame] for frame in frames]
        pictures = torch.stack([self._picture(view, frame) for frame in frames])
        image, matte = (pictures.float() / 255).split([3, 1], -1)
        behind = self._behind if background is None else sent(background, self.device)
        if not torch.equal(self._stored, self.background if background is None else background):
            image = image + (1 - matte) * (behind - self._stored_there)
        motion = None if self._motion is None else _taken(self._motion, rows)
        return Batch(_taken(self._signal, rows), self._seen(view, rows), image, matte, behind, motion, view=view)

    def _seen(self, view: str, rows: list[int]) -> Cameras:
        if view not in self._cameras:
            self._cameras[view] = self.capture.cameras(list(self._row), view).to(self.device)
        of_all = self._cameras[view]
        viewmats, Ks = (torch.stack([values[row] for row in rows]) for values in (of_all.viewmats, of_all.Ks))
        return Cameras(viewmats, Ks, of_all.width, of_all.height)

    def _picture(self, view: str, frame: int) -> UInt8[Tensor, "H W 4"]:
        """Colours and matte."""
        if (view, frame) in self._pictures:
            return self._pictures[view, frame]
        ((image, matte),) = self.capture.view_pictures(view, [frame])
        pixels = sent(torch.from_numpy(np.concatenate([image, matte[..., None]], -1)), self.device)
        if (len(self._pictures) + 1) * pixels.nbytes <= MOST_BYTES:
            self._pictures[view, frame] = pixels
        return pixels


def _taken(signal: DrivingSignal, rows: list[int]) -> DrivingSignal:
    """Some rows; a single one is no copy."""
    parts = [signal[row : row + 1] for row in rows]
    return parts[0] if len(parts) == 1 else DrivingSignal.cat(parts)
