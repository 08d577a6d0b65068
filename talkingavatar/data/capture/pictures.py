"""The pictures of a capture: read when asked for, kept in memory up to a budget."""

from __future__ import annotations

import os
import struct
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy import ndarray
from PIL import Image

from talkingavatar.data.capture.manifest import AGAIN
from talkingavatar.errors import UserError
from talkingavatar.runtime.arrays import damage_told

# A PNG begins with its size, bits a sample and kind of pixel, and ends with a mark; between them it is not looked at.
SIGNATURE, END = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", b"IEND\xaeB`\x82"
HEADER = struct.Struct(">16sIIBB")


class Pictures:
    """PNGs of one size in folders of a capture: `<folder>/<kind>/000000.png`."""

    def __init__(self, folder: Path, width: int, height: int, cache_mb: int) -> None:
        self.folder, self.size = folder, (width, height)
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
        with damage_told(file, "a whole PNG", AGAIN), Image.open(file) as image:
            _check_size(file, image.size, self.size)  # before its pixels are unpacked
            return np.array(image.convert(mode))

    def check(self, kind: str, wanted: Iterable[int], all_there: bool = True) -> None:
        """Look at the headers of these pictures, not at their pixels.

        Args:
            all_there: one that is absent is a mistake.

        Raises:
            UserError: one is missing, cut off, of another size or of more than eight bits.
        """
        folder = self.folder / kind
        there = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
        for index in wanted:
            name = f"{index:06d}.png"
            if name in there:
                self.check_file(folder / name)
            elif all_there:
                raise UserError(str(folder / name), "no such file", "a picture", AGAIN)

    def check_file(self, file: Path) -> None:
        """The same of one file.

        Raises:
            UserError: as `check`.
        """
        with damage_told(file, "a whole PNG", AGAIN):
            head, end = _ends(file)
        mark, width, height, bits, _ = HEADER.unpack(head.ljust(HEADER.size))
        if mark != SIGNATURE or end != END:
            self.read_file(file, "RGB")  # another kind of picture, or cut off: its pixels tell
            return
        _check_size(file, (width, height), self.size)
        if bits > 8:
            raise UserError(str(file), f"{bits} bits a sample", "8", AGAIN)

    def _remember(self, key: tuple[str, int], pixels: ndarray) -> None:
        self._cache[key] = pixels
        self.cache_bytes += pixels.nbytes
        while self.cache_bytes > self.cache_limit and len(self._cache) > 1:
            self.cache_bytes -= self._cache.popitem(last=False)[1].nbytes


def _check_size(file: Path, found: tuple[int, int], expected: tuple[int, int]) -> None:
    if found != expected:
        raise UserError(str(file), "{} x {} pixels".format(*found), "{} x {}".format(*expected), AGAIN)


def _ends(file: Path) -> tuple[bytes, bytes]:
    """The first and the last bytes, by two reads: there may be very many files."""
    handle = os.open(file, os.O_RDONLY)
    try:
        size = os.fstat(handle).st_size
        return os.pread(handle, HEADER.size, 0), os.pread(handle, len(END), max(size - len(END), 0))
    finally:
        os.close(handle)
