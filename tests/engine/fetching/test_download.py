"""Files from a real server on this machine, which can cut, refuse and lie."""

import hashlib
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from talkingavatar.engine.fetching import download as module
from talkingavatar.engine.fetching.download import download
from talkingavatar.errors import UserError

CONTENT = bytes(range(256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """`/file` in whole or from a place on, `/cut` half of it, `/stubborn` always in whole, `/lie` other bytes."""

    asked: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        if self.path == "/gone":
            return self.send_error(404)
        start = int(re.findall(r"\d+", wanted)[0]) if wanted and self.path != "/stubborn" else 0
        if start >= len(CONTENT):
            return self.send_error(416)
        body = CONTENT[start:] if self.path != "/lie" else CONTENT[:0:-1]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/cut" else body)
        return None

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def test_a_file_comes_whole_and_is_not_asked_for_again(server: str, tmp_path: Path, capfd) -> None:
    file = tmp_path / "new" / "weights.pth"
    assert download(f"{server}/file", file, DIGEST) == file
    assert file.read_bytes() == CONTENT and "weights.pth (MiB): 1/1, 0 s left" in capfd.readouterr().err
    download(f"{server}/file", file, DIGEST)
    assert Handler.asked == [None] and [f.name for f in file.parent.iterdir()] == ["weights.pth"]


def test_what_was_cut_is_continued(server: str, tmp_path: Path) -> None:
    file, half = tmp_path / "weights.pth", len(CONTENT) // 2
    with pytest.raises(UserError, match=f"cut after {half} of {len(CONTENT)} bytes.*what has come is kept"):
        download(f"{server}/cut", file, DIGEST, show=False)
    assert not file.exists()
    download(f"{server}/file", file, DIGEST, show=False)
    assert file.read_bytes() == CONTENT and Handler.asked == [None, f"bytes={half}-"]


@pytest.mark.parametrize("lies", [b"x" * 100, b"x" * len(CONTENT), CONTENT])
def test_a_server_that_cannot_continue_sends_all(server: str, tmp_path: Path, lies: bytes) -> None:
    file = tmp_path / "weights.pth"
    file.with_name("weights.pth.part").write_bytes(lies)
    path = "stubborn" if len(lies) < len(CONTENT) else "file"
    assert download(f"{server}/{path}", file, DIGEST, show=False).read_bytes() == CONTENT
    assert len(Handler.asked) == {100: 1}.get(len(lies), 2 * (lies != CONTENT))


def test_other_bytes_are_thrown_away(server: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(b"something else")
    with pytest.raises(UserError, match=f"found SHA-256 .*expected {DIGEST}"):
        download(f"{server}/lie", file, DIGEST, show=False)
    assert file.read_bytes() == b"something else" and len(list(tmp_path.iterdir())) == 1


def test_no_network_no_file_no_room(server: str, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(UserError, match=r"answer 404 .*put it there as .*weights.pth"):
        download(f"{server}/gone", tmp_path / "weights.pth", DIGEST, show=False)
    monkeypatch.setattr(module, "PATIENCE", 2)
    with pytest.raises(UserError, match="no connection"):
        download("http://127.0.0.1:9/file", tmp_path / "weights.pth", DIGEST, show=False)
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="make room or change the folder"):
        download(f"{server}/file", tmp_path / "taken" / "weights.pth", DIGEST, show=False)
