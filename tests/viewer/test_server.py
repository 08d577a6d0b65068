"""Addresses, who may ask for them, and live speech over a real socket."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from talkingavatar.errors import UserError
from talkingavatar.viewer.session import WAITING, Session
from talkingavatar.viewer.shelf import KEPT
from talkingavatar.viewer.shown import Live
from talkingavatar.viewer.wire import HEADER, Kind, Message, read_sound
from tests.viewer.serving import FPS, HOP, LIVE, Counting, ask, serving, shown

BLOCK = 320


def sound(number: int, values=None) -> bytes:
    values = np.full(BLOCK, 0.5, np.float32) if values is None else values
    return Message(Kind.SOUND, 0, number, number * BLOCK / 16_000, values).packed()


def frames(content: bytes):
    kind, flags, count, sequence, seconds = HEADER.unpack_from(content)
    assert kind == Kind.FRAMES
    return sequence, seconds, np.frombuffer(content, "<f4", offset=HEADER.size).reshape(count, -1), flags


def said(page, name: str):
    """The next that is told under a name; frames and reports on the way are passed over."""
    while True:
        content = page.recv(30)
        if isinstance(content, str) and name in (told := json.loads(content)):
            return told[name]


def shown_next(page):
    """The next frames."""
    return frames(next(content for content in iter(lambda: page.recv(30), None) if isinstance(content, bytes)))


@pytest.fixture(scope="module")
def port():
    one = shown(sound=b"RIFF", picture=lambda frame: b"picture %d" % frame)
    with serving([Path("one"), Path("broken")], {Path("one"): one}.__getitem__) as port:
        yield port


def test_sound_on_the_wire_is_what_was_said():
    values = np.linspace(-1, 1, BLOCK, dtype=np.float32)
    read = read_sound(sound(7, values))
    assert (read.sequence, read.time) == (7, 7 * BLOCK / 16_000)
    np.testing.assert_allclose(read.values, values, atol=0.5 / 32767 + 1e-7)


@pytest.mark.parametrize("content", [b"", b"x" * 15, sound(0)[:-1], sound(0) + b"x", b"\1" + sound(0)[1:]])
def test_what_is_no_sound_is_refused(content):
    with pytest.raises(ValueError, match=r"bytes|kind"):
        read_sound(content)


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        ("/avatars/0.glb", b"glTF", "model/gltf-binary"),
        ("/avatars/0/sound.wav", b"RIFF", "audio/wav"),
        ("/avatars/0/frames/9.jpg", b"picture 9", "image/jpeg"),
        ("/avatars/0/motion", np.arange(40, dtype="<f4").tobytes(), "application/octet-stream"),
    ],
)
def test_addresses_answer(port, path, content, kind):
    status, found, headers = ask(port, path)
    assert (status, found, headers["Content-Type"]) == (200, content, kind)


def test_the_page_and_what_it_reads_first(port):
    assert ask(port, "/")[1].lower().startswith(b"<!doctype html>")
    assert json.loads(ask(port, "/avatars.json")[1])["avatars"][0]["name"] == "one"
    told = json.loads(ask(port, "/avatars/0.json")[1])
    assert (told["frames"], told["live"]) == (10, {"fps": FPS, "lookahead": 0.04, "prompted": False})


@pytest.mark.parametrize(
    "path",
    [
        "/avatars/0/frames/10.jpg", "/avatars/2.glb", "/avatars/-1.glb", "/avatars/0", "/nothing", "/assets/nothing.js",
        "/assets/../server.py", "/assets/%2e%2e/server.py", "/assets//etc/passwd", "//assets/../../view.py",
    ],
)  # fmt: skip
def test_nothing_else_is_there(port, path):
    assert ask(port, path)[0] == 404


def test_what_cannot_be_opened_is_told_and_the_rest_is_there():
    def opener(place):
        if place.name == "broken":
            raise UserError("run", "nothing", "a run", "give one")
        return shown(name=place.name)

    places = [Path("broken"), *(Path(str(number)) for number in range(2 * KEPT))]
    with serving(places, opener) as port:
        assert ask(port, "/avatars/0.json")[:2] == (404, b"run: found nothing; expected a run; give one")
        for number in range(1, len(places)):
            assert json.loads(ask(port, f"/avatars/{number}.json")[1])["name"] == str(number - 1)
        told = json.loads(ask(port, "/avatars.json")[1])["avatars"]
    assert [one["open"] for one in told] == [False] * (KEPT + 1) + [True] * KEPT


def test_a_page_of_another_site_reads_nothing(port):
    assert ask(port, "/avatars/0.glb", Origin="https://elsewhere.example")[0] == 403
    assert ask(port, "/avatars/0.glb", Origin=f"http://127.0.0.1:{port}")[0] == 200
    # A name of theirs that leads to this machine is no way in.
    theirs = f"elsewhere.example:{port}"
    assert ask(port, "/avatars/0.glb", Origin=f"http://{theirs}", Host=theirs)[0] == 403
    assert ask(port, "/avatars/0.glb", Host=f"localhost:{port}")[0] == 200
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{port}/live", origin="https://elsewhere.example")


def test_a_token_is_asked_for_everywhere():
    with serving([Path("one")], lambda place: shown(), token="secret") as port:
        for path in ("/", "/avatars/0.glb", "/assets/style.css", "/?token=wrong", "/?token="):
            assert ask(port, path)[0] == 403
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{port}/live")
        status, _, headers = ask(port, "/?token=secret")
        assert status == 200
        cookie = headers["Set-Cookie"].split(";")[0]
        assert ask(port, "/avatars/0.glb", Cookie=cookie)[0] == 200
        connect(f"ws://127.0.0.1:{port}/live", additional_headers={"Cookie": cookie}).close()


def test_a_port_in_use_is_told_in_a_line(port):
    from talkingavatar.viewer.server import Viewer
    from talkingavatar.viewer.shelf import Shelf

    with pytest.raises(UserError, match=f"port: found 127.0.0.1:{port}"):
        import asyncio

        asyncio.run(Viewer(Shelf([], shown)).serve("127.0.0.1", port))


def test_a_large_file_comes_whole_to_who_reads_slowly():
    content = np.random.default_rng(0).bytes(20_000_000)
    with serving([Path("one")], lambda place: shown(glb=content)) as port:
        import socket

        with socket.create_connection(("127.0.0.1", port)) as plain:
            plain.sendall(b"GET /avatars/0.glb HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(0.5)
            found = b"".join(iter(lambda: plain.recv(1 << 20), b""))
    assert found.endswith(content)


def test_sound_goes_up_and_frames_come_down_in_time(port):
    with connect(f"ws://127.0.0.1:{port}/live?avatar=0") as page:
        assert said(page, "hello") == {"fps": FPS, "lookahead": 0.04, "prompted": False}
        for number in range(20):
            page.send(sound(number))
            if number % 2:
                sequence, seconds, rows, flags = shown_next(page)
                assert (sequence, flags) == (number // 2, 0)
                assert seconds == pytest.approx(sequence / FPS)
                np.testing.assert_allclose(rows, [[sequence, 0.5]], atol=1e-4)
                page.send(json.dumps({"seen": sequence + 1}))


def test_a_prompt_is_read_and_a_strange_one_answered(port):
    with connect(f"ws://127.0.0.1:{port}/live") as page:
        page.recv()
        page.send(json.dumps({"prompt": "very happy from 2s until 3s"}))
        (ask_,) = said(page, "prompt")["asks"]
        assert (ask_["start"], ask_["stop"]) == (2.0, 3.0) and ask_["raised"]["AU12"] > 1
        page.send(json.dumps({"prompt": "xyzzy"}))
        assert "emotion" in said(page, "error")


def test_a_voice_that_is_prompted_knows_from_when():
    """Words count from the newest sound, rise within a fade, and are taken back."""

    class Prompted(Counting):
        def __init__(self, first, asked):
            super().__init__(first)
            self.asked, self.given = asked, 0

        def push(self, samples):
            rows = super().push(samples)
            rows[:, 1] = self.asked.window(self.given, len(rows)).weight
            self.given += len(rows)
            return rows

    live = replace(LIVE, prompted=Prompted)
    with serving([Path("one")], lambda place: shown(live=live)) as port, connect(f"ws://127.0.0.1:{port}/live") as page:
        assert said(page, "hello")["prompted"]
        weights = {}
        for number in range(100, 180):
            if number == 120:
                page.send(json.dumps({"prompt": "very happy"}))
                said(page, "prompt")
            if number == 160:
                page.send(json.dumps({"prompt": None}))
            page.send(sound(number))
            if number % 2:
                sequence, _, ((frame, weight),), _ = shown_next(page)
                weights[frame] = weight
                page.send(json.dumps({"seen": sequence + 1}))
    asked = 120 * BLOCK / 16_000 * FPS
    for frame, weight in weights.items():
        expected = 0.0 if frame < asked or frame >= 80 else min(0.5 + (frame - asked) / FPS / 0.4, 1.0)
        assert weight == pytest.approx(expected**2 * (3 - 2 * expected), abs=1e-3)


def test_garbage_is_said_to_be_and_ends_the_connection_alone(port):
    with connect(f"ws://127.0.0.1:{port}/live") as other, connect(f"ws://127.0.0.1:{port}/live") as page:
        page.recv()
        with pytest.raises(ConnectionClosed):
            for content in ["{", "[]", '{"seen": "x"}', "nan", b"", b"\xff" * 100, '{"prompt": ""}', b"x", "1"] * 2:
                page.send(content)
                assert "not understood" in said(page, "error")
        other.recv()
        other.send(sound(0))
        other.send(sound(1))
        assert shown_next(other)[0] == 0


def test_who_sees_nothing_is_sent_no_more(port):
    from talkingavatar.viewer.conversation import AHEAD

    with connect(f"ws://127.0.0.1:{port}/live") as page:
        for number in range(4 * AHEAD):
            page.send(sound(number))
            time.sleep(0.001)
        got, counts = [], {}
        while counts.get("frames") != 2 * AHEAD:  # until all is made
            message = page.recv(30)
            if isinstance(message, bytes):
                got.append(frames(message)[0])
            else:
                counts = json.loads(message).get("counts", counts)
        assert len(got) <= AHEAD + WAITING
        unsent = 2 * WAITING  # that wait, and that are on their way as it is reported
        # In messages: of a busy machine's, one may hold the frames of several blocks.
        assert counts["messages"] <= len(got) + unsent or counts["late"] > 0
        made = counts["messages"]
        page.send(json.dumps({"seen": got[-1] + 1}))
        page.send(sound(4 * AHEAD))
        page.send(sound(4 * AHEAD + 1))
        after = shown_next(page)[0]
        assert after >= made - WAITING  # the newest, not those that were waiting


def test_ten_pages_at_once(port):
    ends = []

    def one() -> None:
        with connect(f"ws://127.0.0.1:{port}/live") as page:
            for number in range(40):
                page.send(sound(number))
                if number % 2:
                    page.send(json.dumps({"seen": number // 2}))
                    ends.append(shown_next(page)[0] - number // 2)

    threads = [threading.Thread(target=one) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ends) == 200 and not any(ends)


def test_missing_sound_begins_anew_at_its_own_time():
    change = threading.Event()
    with Session(LIVE, change.set) as session:
        got = []
        for number in (0, 1, 50, 51):
            session.hear(read_sound(sound(number)))
            if number % 2:
                assert change.wait(10)
                change.clear()
                got += session.fetch()
    assert [round(message.time, 6) for message in got] == [0.0, 1.0]
    assert [int(message.values[0, 0]) for message in got] == [0, 25]
    assert session.counts.starts == 2


def test_a_voice_that_is_too_slow_hears_the_newest():
    go = threading.Event()

    class Slow:
        def __init__(self, first: int) -> None:
            self.first = first

        def push(self, samples):
            go.wait(10)
            return np.full((len(samples) // HOP, 1), self.first, np.float32)

    with Session(Live(FPS, 0.0, Slow), lambda: None) as session:
        for number in range(200):  # four seconds, while none can be heard
            session.hear(read_sound(sound(number)))
        assert sum(len(block.values) for block in session._blocks) <= 16_000
        go.set()
    assert session.counts.unheard >= 2 * 16_000


def test_a_driver_that_fails_is_told():
    class Failing:
        def __init__(self, first: int) -> None:
            raise RuntimeError("no room")

    live = Live(FPS, 0.0, Failing)
    with serving([Path("one")], lambda place: shown(live=live)) as port, connect(f"ws://127.0.0.1:{port}/live") as page:
        page.recv()
        page.send(sound(0))
        assert "no room" in said(page, "error")
        with pytest.raises(ConnectionClosed):
            page.recv()
