"""A real server on a free port of this machine, in a thread of its own, and a plain way to ask it."""

import asyncio
import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from talkingavatar.viewer.server import Viewer
from talkingavatar.viewer.shelf import Shelf
from talkingavatar.viewer.shown import Live, Shown

FPS = 25.0
HOP = 640  # samples a frame


class Counting:
    """A voice whose row is the number of its frame and the loudest sample in it."""

    def __init__(self, first: int) -> None:
        self.number, self.waiting = first, np.zeros(0, np.float32)

    def push(self, samples):
        self.waiting = np.concatenate([self.waiting, samples])
        count = len(self.waiting) // HOP
        blocks, self.waiting = self.waiting[: count * HOP].reshape(count, HOP), self.waiting[count * HOP :]
        numbers = np.arange(self.number, self.number + count)
        self.number += count
        return np.stack([numbers, np.abs(blocks).max(1, initial=0)], 1).astype(np.float32)


LIVE = Live(FPS, 0.04, Counting)


@contextmanager
def serving(places, opener, token: str | None = None) -> Iterator[int]:
    """The port."""
    ready, loop, found = threading.Event(), asyncio.new_event_loop(), []

    async def until(stop: asyncio.Event) -> None:
        async with await Viewer(Shelf(places, opener), token).serve("127.0.0.1", 0) as server:
            found.append((server.sockets[0].getsockname()[1], stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(until(asyncio.Event())))
    thread.start()
    assert ready.wait(30)
    port, stop = found[0]
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()
        loop.close()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, content and headers of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read(), dict(answer.getheaders())


def shown(**changed) -> Shown:
    """An avatar that moves for ten frames."""
    motion = np.arange(40, dtype=np.float32).reshape(10, 4)
    return Shown(**{"name": "one", "glb": b"glTF", "fps": FPS, "motion": motion, "live": LIVE} | changed)
