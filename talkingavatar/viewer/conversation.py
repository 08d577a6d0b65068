"""One page's live connection.

Up come sound (`viewer.wire`), `{"seen": n}` when the frames of message n are there, and `{"prompt": text}`, null to
take it back. Down go frames, `{"hello": ...}` first, `{"counts": ...}` every second, `{"prompt": ...}` and
`{"error": line}`.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from talkingavatar.data.prompts.ask import Ask
from talkingavatar.errors import UserError
from talkingavatar.viewer.face import told, understood
from talkingavatar.viewer.session import Session
from talkingavatar.viewer.shown import Live, Shown
from talkingavatar.viewer.wire import read_sound

EVERY = 1.0  # seconds between two reports of what happened
GARBAGE = 8  # messages that are not understood, after which a connection ends
AHEAD = 25  # messages that were sent and not seen: buffers on the way hold minutes, which nobody wants to wait for
LONGEST = 500  # characters of a prompt


async def converse(connection: ServerConnection, shown: Shown) -> None:
    """Serve one page until it goes, or sends nothing but garbage.

    Raises:
        Exception: what the driver raised.
    """
    try:
        if shown.live is None:
            await _say(connection, hello=None, notes=list(shown.notes))
            await Conversation(connection, None).listen()
        else:
            await _spoken(connection, shown.live)
    except ConnectionClosed:
        pass


async def _spoken(connection: ServerConnection, live: Live) -> None:
    change, loop = asyncio.Event(), asyncio.get_running_loop()

    def ready() -> None:
        loop.call_soon_threadsafe(change.set)

    with Session(live, ready) as session:
        talk = Conversation(connection, session, change)
        await _say(connection, hello=live.told())
        parts = [asyncio.create_task(part) for part in (talk.listen(), talk.send(), talk.report())]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)


class Conversation:
    """The three things that are done at once for a page."""

    def __init__(
        self, connection: ServerConnection, session: Session | None, change: asyncio.Event | None = None
    ) -> None:
        self.connection, self.session = connection, session
        self.change = asyncio.Event() if change is None else change
        self.sent, self.seen, self.garbage = 0, 0, 0

    async def listen(self) -> None:
        """Take what comes, until too much of it is garbage."""
        while self.garbage < GARBAGE:
            content = await self.connection.recv()
            try:
                if isinstance(content, bytes):
                    self._hear(content)
                else:
                    await self._read(content)
            except UserError as error:
                await _say(self.connection, error=str(error))
            except (ValueError, TypeError) as error:
                self.garbage += 1
                await _say(self.connection, error=f"not understood: {error}")
        await self.connection.close(1008, "nothing that was sent was understood")

    def _hear(self, content: bytes) -> None:
        block = read_sound(content)
        if self.session is not None:
            self.session.hear(block)

    async def _read(self, content: str) -> None:
        """
        Raises:
            ValueError, TypeError: it is not one of the messages that are known.
            UserError: a prompt that is not understood.
        """
        match json.loads(content):
            case {"seen": int(number)}:
                self.seen = max(self.seen, min(number, self.sent))
                self.change.set()
            case {"prompt": str(text)} if 0 < len(text) <= LONGEST:
                asks, notes = await asyncio.to_thread(understood, text)
                self._ask(asks)
                await _say(self.connection, prompt={"asks": [told(ask) for ask in asks], "notes": notes})
            case {"prompt": None}:
                self._ask([])
            case other:
                raise ValueError(f"{str(other)[:80]!r}")

    def _ask(self, asks: list[Ask]) -> None:
        if self.session is not None:
            self.session.ask(asks)

    async def send(self) -> None:
        """Frames, as they are made and seen.

        Raises:
            Exception: what the driver raised.
        """
        assert self.session is not None
        while True:
            await self.change.wait()
            self.change.clear()
            if self.session.failure is not None:
                await _say(self.connection, error=f"the driver failed: {self.session.failure}")
                raise self.session.failure
            if self.sent - self.seen >= AHEAD:
                continue
            for message in self.session.fetch():
                self.sent = message.sequence + 1
                await self.connection.send(message.packed())

    async def report(self) -> None:
        """What happened so far, now and then."""
        assert self.session is not None
        while True:
            await asyncio.sleep(EVERY)
            await _say(self.connection, counts=asdict(self.session.counts))


async def _say(connection: ServerConnection, **said: Any) -> None:
    await connection.send(json.dumps(said))
