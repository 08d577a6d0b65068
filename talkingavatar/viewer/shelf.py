"""What can be shown, each opened when it is first asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from talkingavatar.viewer.shown import Shown

KEPT = 8  # that are open at once; those that were opened first are closed for others


class Shelf:
    """Runs and files by number. Opening one takes seconds: it is done in a thread, one at a time, and kept."""

    def __init__(self, places: Sequence[Path], opener: Callable[[Path], Shown]) -> None:
        self.places, self._opener = list(places), opener
        self._opened: dict[int, Shown] = {}
        self._turn = asyncio.Lock()

    def __len__(self) -> int:
        return len(self.places)

    async def open(self, number: int) -> Shown:
        """
        Raises:
            UserError: it cannot be opened.
        """
        if number in self._opened:
            return self._opened[number]
        async with self._turn:
            if number not in self._opened:
                shown = await asyncio.to_thread(self._opener, self.places[number])
                while len(self._opened) >= KEPT:
                    del self._opened[next(iter(self._opened))]
                self._opened[number] = shown
            return self._opened[number]

    def told(self) -> list[dict[str, Any]]:
        """Names, and which of them are open."""
        return [
            {"name": place.stem if place.suffix == ".glb" else place.absolute().name, "open": number in self._opened}
            for number, place in enumerate(self.places)
        ]
