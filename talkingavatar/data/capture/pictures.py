"""The pictures of a capture: read when asked for, kept in memory up to a budget."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy import ndarray
from PIL import Image

from talkingavatar.errors import UserError


class Pictures:
    """PNGs of one size in folders of a capture: `<folder>/<kind>/000000.png`."""

    def __init__(self, folder: Path, width: int, height: int, cache_mb: int) -> None:
        self.folder, self.size = folder, (height, width)
        self.cache_bytes, self.cache_limit = 0, cache_mb << 20
        self._cache: OrderedDict[tuple[str, int], ndarray] = OrderedDict()

    def read(self, kind: str, index: int, mode: str) -> ndarray:
        """One picture, from memory where it is kept; `mode` as Pillow names it.

        Raises:
            UserError: it is missing, damaged or of another size.
        """
        if (kept := self._cache.get((kind, index))) is not None:
            self._cache.move_to_end((kind, index))
            return kept
        pixels = self.read_file(self.folder / kind / f"{index:06d}.png", mode)
        self._remember((kind, index), pixels)
        return pixels

    def read_file(self, file: Path, mode: str) -> ndarray:
        """The same of any file, not kept."""
        try:
            with Image.open(file) as image:
                pixels = np.array(image.convert(mode))
        except FileNotFoundError as error:
            raise UserError(str(file), "no such file", "a picture", "make the capture again") from error
        except (OSError, SyntaxError) as error:
            raise UserError(
                str(file), f"a truncated or foreign file ({error})", "a whole PNG", "make the capture again"
            ) from error
        if pixels.shape[:2] != self.size:
            raise UserError(str(file), f"{pixels.shape[:2]}", f"{self.size} pixels", "make the capture again")
        return pixels

    def _remember(self, key: tuple[str, int], pixels: ndarray) -> None:
        self._cache[key] = pixels
        self.cache_bytes += pixels.nbytes
        while self.cache_bytes > self.cache_limit and len(self._cache) > 1:
            self.cache_bytes -= self._cache.popitem(last=False)[1].nbytes
