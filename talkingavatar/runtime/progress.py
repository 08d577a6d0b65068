"""Progress with time left: a bar in a terminal, a line each tenth elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")


class ProgressBar:
    """A task of known length. `note` stands behind the bar (a live PSNR)."""

    def __init__(self, title: str, total: int, show: bool = True, done: int = 0) -> None:
        self.title, self.total, self.show = title, total, show
        self.done = self.first = done
        self.began = time.monotonic()
        self.note = ""
        self.terminal = sys.stderr.isatty()
        self.tenth = 10 * done // max(1, total)
        self.bar = Progress(
            TextColumn("{task.description:<18}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            disable=not (show and self.terminal),
        )

    def __enter__(self) -> "ProgressBar":
        self.bar.start()
        self.task = self.bar.add_task(self.title, total=self.total, completed=self.done, note="")
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def advance(self, note: str = "") -> None:
        self.done += 1
        if self.terminal:
            self.note = note or self.note
            self.bar.update(self.task, completed=self.done, note=self.note)
        elif self.show and 10 * self.done // max(1, self.total) > self.tenth:
            self.tenth = 10 * self.done // max(1, self.total)
            spent = time.monotonic() - self.began
            left = spent / max(1, self.done - self.first) * (self.total - self.done)
            print(
                f"{self.title}: {self.done}/{self.total}, {left:.0f} s left  {note}",
                file=sys.stderr,
                flush=True,
            )


def track(items: Iterable[Item], title: str, total: int, show: bool = True) -> Iterator[Item]:
    """Iterate with a progress bar."""
    with ProgressBar(title, total, show) as bar:
        for item in items:
            yield item
            bar.advance()
