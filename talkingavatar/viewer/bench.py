"""How soon after a sound the mouth moves in a browser, part by part, and whether hours of it cost anything."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from websockets.asyncio.client import ClientConnection, connect

from talkingavatar.audio.speech import load_speech, voices
from talkingavatar.engine.fitted import FittedRun, load_run
from talkingavatar.engine.performing.speech import speaker_of
from talkingavatar.viewer.server import Viewer
from talkingavatar.viewer.session import RATE
from talkingavatar.viewer.shelf import Shelf
from talkingavatar.viewer.shown import Baked, Live, Motion, Shown, Voice
from talkingavatar.viewer.speaking import RunVoice, live_of
from talkingavatar.viewer.wire import HEADER, Kind, Message

BLOCK = 320  # samples that a browser sends at once
LEAD = 0.4  # seconds of sound on the way beside the look-ahead, where it comes faster than it is spoken
STEADY = 0.1  # share of the messages before those that count: they warm up


@dataclass
class Heard:
    """What one page was sent."""

    waits: list[float] = field(default_factory=list)  # milliseconds from the last block to a message
    lags: list[float] = field(default_factory=list)  # seconds of sound sent, beyond the newest frame
    memory: list[float] = field(default_factory=list)  # megabytes of the process
    frames: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0  # that it took


def bench_live(run: Path, bake: Callable[[FittedRun], Baked], seconds: float, times: float) -> list[dict[str, Any]]:
    """Print one line a part; returns them.

    Args:
        seconds: of speech.
        times: as fast as it is spoken, at most: an hour in minutes.

    Raises:
        UserError: the run has no driver that speaks as it hears.
    """
    trained = load_run(run)
    live = live_of(speaker_of(trained), bake(trained).motion)
    timed = Timed(live)
    heard = asyncio.run(talk(timed.live, speech(seconds), times))
    rows = _rows(live, timed, heard)
    for row in rows:
        print(f"{row['part']:<44}{row['ms']:>10.2f}{row['99 of 100']:>10.2f}" if "ms" in row else _told(row))
    return rows


def speech(seconds: float) -> Float[ndarray, " N"]:
    """An embedded speaker, again and again."""
    said = load_speech(voices()[0]).excerpt(0.0, min(seconds, 60.0)).samples
    return np.resize(said, round(seconds * RATE)).astype(np.float32)


async def talk(live: Live, sound: Float[ndarray, " N"], times: float) -> Heard:
    """One page on a real socket that says all of the sound."""
    shelf, heard = Shelf([Path("bench")], lambda place: Shown("bench", b"", live=live)), Heard()
    async with await Viewer(shelf).serve("127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}/live", compression=None) as page:
            began = time.perf_counter()
            sent = Sent()
            reader = asyncio.create_task(_read(page, live.fps, sent, heard))
            await _send(page, sound, sent, live.lookahead + LEAD, times)
            await asyncio.sleep(1.2)  # the last report
            reader.cancel()
            heard.seconds = time.perf_counter() - began
    return heard


@dataclass
class Sent:
    """How far the page is."""

    sound: float = 0.0  # seconds that were sent
    at: float = 0.0  # when the last block was
    shown: float = 0.0  # of the newest frame
    change: asyncio.Event = field(default_factory=asyncio.Event)


async def _send(page: ClientConnection, sound: Float[ndarray, " N"], sent: Sent, lead: float, times: float) -> None:
    """Block after block in its time; faster than spoken, never farther than `lead` before the frames."""
    began = time.perf_counter()
    for number in range(len(sound) // BLOCK):
        start = number * BLOCK / RATE
        await asyncio.sleep(max(0.0, began + (start + BLOCK / RATE) / times - time.perf_counter()))
        while times > 1 and start - sent.shown > lead:
            sent.change.clear()
            await sent.change.wait()
        block = Message(Kind.SOUND, 0, number, start, sound[number * BLOCK : (number + 1) * BLOCK])
        await page.send(block.packed())
        sent.sound, sent.at = start + BLOCK / RATE, time.perf_counter()


async def _read(page: ClientConnection, fps: float, sent: Sent, heard: Heard) -> None:
    async for content in page:
        if isinstance(content, str):
            heard.counts = json.loads(content).get("counts", heard.counts)
            heard.memory.append(_memory())
            continue
        _, _, count, sequence, first = HEADER.unpack_from(content)
        heard.waits.append(1e3 * (time.perf_counter() - sent.at))
        heard.frames += count
        sent.shown = first + (count - 1) / fps
        heard.lags.append(sent.sound - sent.shown)
        sent.change.set()
        await page.send(json.dumps({"seen": sequence + 1}))


class Timed:
    """A live form whose voices tell what their parts cost."""

    def __init__(self, live: Live) -> None:
        self.driver: list[float] = []  # milliseconds a block
        self.motion: list[float] = []  # milliseconds a message's frames
        self.live = Live(live.fps, live.lookahead, lambda first: self._timed(live.voice(first)))

    def _timed(self, voice: Voice) -> Voice:
        assert isinstance(voice, RunVoice)
        for stream in voice.speech.streams:
            stream.push = _timed(stream.push, self.driver)  # type: ignore[method-assign]
        voice.motion = _timed(voice.motion, self.motion)
        return voice


def _timed(work: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    def done(*given: Any) -> Motion:
        began = time.perf_counter()
        made = work(*given)
        spent.append(1e3 * (time.perf_counter() - began))
        return made

    return done


def _rows(live: Live, timed: Timed, heard: Heard) -> list[dict[str, Any]]:
    parts: dict[str, list[float]] = {
        "a block of sound": [1e3 * BLOCK / RATE],
        "look-ahead": [1e3 * live.lookahead],
        "the driver, a block": timed.driver,
        "the avatar's motion, a message": timed.motion,
        "from the block's sending to its frames": heard.waits,
    }
    rows: list[dict[str, Any]] = []
    for part, spent in parts.items():
        steady = spent[int(STEADY * len(spent)) :] or [float("nan")]
        rows.append({"part": part, "ms": float(np.median(steady)), "99 of 100": float(np.percentile(steady, 99))})
    whole = [rows[0], rows[1], rows[4]]
    rows.append({"part": "sound to frame in the browser"} | {k: sum(r[k] for r in whole) for k in ("ms", "99 of 100")})
    tenth = max(len(heard.lags) // 10, 1)
    return [*rows, {
        "part": "the whole of it",
        "frames": heard.frames,
        "times real time": heard.frames / live.fps / heard.seconds,
        "lag, first tenth": float(np.median(heard.lags[:tenth])),
        "lag, last tenth": float(np.median(heard.lags[-tenth:])),
        "MB, first tenth": heard.memory[len(heard.memory) // 10],
        "MB, end": heard.memory[-1],
        **heard.counts,
    }]  # fmt: skip


def _told(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in row.items() if name != "part")


def _memory() -> float:
    """Megabytes that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6
