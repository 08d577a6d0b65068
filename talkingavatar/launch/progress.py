"""The progress of a whole sweep on this machine: a bar in a terminal, a line for each run that ends elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class SweepProgress:
    """Counts runs; time left by what this launcher has done so far, running ones by their step."""

    def __init__(self, total: int, done: int, show: bool = True) -> None:
        self.total, self.first, self.done, self.bad = total, done, done, 0
        self.running: list[float] = []
        self.began = time.monotonic()
        self.show = show
        self.console = Console(stderr=True, highlight=False)
        self.bar = Progress(
            TextColumn("runs"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not (show and sys.stderr.isatty()),
        )

    def __enter__(self) -> SweepProgress:
        self.bar.start()
        self.task = self.bar.add_task("runs", total=self.total, completed=self.done, text="")
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def update(self, running: list[float]) -> None:
        """
        Args:
            running: share of each running run that is done, 0 to 1.
        """
        self.running = running
        completed = self.done + self.bad + sum(running)
        self.bar.update(self.task, completed=completed, text=self._text())

    def finished(self, name: str) -> None:
        self.done += 1
        self.note(f"{name}: done  ({self._text()})")

    def failed(self, name: str, error: str) -> None:
        self.bad += 1
        self.note(f"{name}: failed: {error}  ({self._text()})")

    def note(self, text: str) -> None:
        if self.show:
            self.console.print(text, markup=False, soft_wrap=True)

    def _text(self) -> str:
        parts = [f"{self.done}/{self.total} done"]
        if self.bad:
            parts.append(f"{self.bad} failed")
        gained = self.done + self.bad - self.first + sum(self.running)
        left = self.total - self.done - self.bad - sum(self.running)
        if gained > 0.02 and left > 0:
            parts.append(f"{duration((time.monotonic() - self.began) / gained * left)} left")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """A length of time for people: 40 s, 12 min, 3.5 h, 2.1 d."""
    for limit, unit, name, digits in ((90, 1, "s", 0), (5400, 60, "min", 0), (172800, 3600, "h", 1)):
        if seconds < limit:
            return f"{seconds / unit:.{digits}f} {name}"
    return f"{seconds / 86400:.1f} d"
