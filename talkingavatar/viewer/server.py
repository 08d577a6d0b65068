"""Pages, avatars and live speech on one port: HTTP and WebSocket in one asyncio process.

Only the addresses below are answered. Where others than this machine may connect, each must bring a token, in the
address the first time and in a cookie after that.
"""

from __future__ import annotations

import asyncio
import hmac
import http
import json
import re
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from talkingavatar.errors import UserError
from talkingavatar.viewer.conversation import converse
from talkingavatar.viewer.face import table
from talkingavatar.viewer.shelf import Shelf

ASSETS = Path(__file__).parent / "assets"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".glb": "model/gltf-binary",
    ".jpg": "image/jpeg",
    ".wav": "audio/wav",
    "": "application/octet-stream",
}
COOKIE = "talkingavatar"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
PATIENCE = 300.0  # seconds that a file may take to be sent
LARGEST = 1 << 16  # bytes of a message from a page
AVATAR = re.compile(r"/avatars/(\d{1,6})(\.glb|\.json|/motion|/sound\.wav|/frames/(\d{1,8})\.jpg)")
Answer = tuple[bytes, str]  # and the ending that tells its type


class Viewer:
    """Answers what pages ask for."""

    def __init__(self, shelf: Shelf, token: str | None = None) -> None:
        """
        Args:
            token: that every request must bring; None: none need to.
        """
        self.shelf, self.token = shelf, token
        self._reading = asyncio.Lock()  # of pictures, whose cache one thread uses at a time

    async def serve(self, host: str, port: int) -> Server:
        """Listen; the server is a context, and ends with it.

        Raises:
            UserError: the port is in use, or the host is not this machine's.
        """
        try:
            return await serve(
                self._talk, host, port, process_request=self._request, max_size=LARGEST, max_queue=16,
                open_timeout=PATIENCE, compression=None, server_header=None,
            )  # fmt: skip
        except OSError as error:
            found = f"{host}:{port}: {error.strerror or error}"
            raise UserError(
                "port", found, "a free port of this machine", "give another port=, or another host="
            ) from error

    async def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        """None lets a WebSocket in."""
        address = urlsplit(request.path)
        if not self._known(request, address.query):
            return _response(403, b"give the address with its token, as `view` has printed it\n")
        if not _own(request) or (self.token is None and not _of_loopback(request)):
            return _response(403, b"another page's request\n")
        if address.path == "/live":
            return None
        try:
            found = await self._answer(address.path)
        except UserError as error:
            return _response(404, str(error).encode())
        response = _response(404, b"no such address\n") if found is None else _response(200, *found)
        if self.token is not None and address.query:
            response.headers["Set-Cookie"] = f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"
        return response

    def _known(self, request: Request, query: str) -> bool:
        """Whether the request brings the token, where one is asked for."""
        if self.token is None:
            return True
        brought = parse_qs(query).get("token", [])
        try:
            cookie = SimpleCookie(request.headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        brought += [cookie.value] if cookie else []
        return any(hmac.compare_digest(given.encode(), self.token.encode()) for given in brought)

    async def _answer(self, path: str) -> Answer | None:
        """
        Raises:
            UserError: an avatar that cannot be opened.
        """
        if path == "/":
            return (ASSETS / "index.html").read_bytes(), ".html"
        if path == "/avatars.json":
            return _json({"avatars": self.shelf.told(), "face": table()}), ".json"
        if path.startswith("/assets/"):
            return _asset(path.removeprefix("/assets/"))
        if match := AVATAR.fullmatch(path):
            return await self._of_avatar(int(match[1]), match[2], match[3])
        return None

    async def _of_avatar(self, number: int, what: str, frame: str | None) -> Answer | None:
        if not 0 <= number < len(self.shelf):
            return None
        shown = await self.shelf.open(number)
        if frame is not None:
            if shown.picture is None or shown.motion is None or int(frame) >= len(shown.motion):
                return None
            async with self._reading:
                return await asyncio.to_thread(shown.picture, int(frame)), ".jpg"
        made: dict[str, Callable[[], bytes | None]] = {
            ".glb": lambda: shown.glb,
            ".json": lambda: _json(shown.told()),
            "/motion": lambda: None if shown.motion is None else shown.motion.astype("<f4").tobytes(),
            "/sound.wav": lambda: shown.sound,
        }
        content = made[what]()
        return None if content is None else (content, Path(f"avatar{what}").suffix)

    async def _talk(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        number = parse_qs(urlsplit(connection.request.path).query).get("avatar", ["0"])[0]
        if not number.isdecimal() or int(number) >= len(self.shelf):
            await connection.close(1008, f"no avatar {number[:20]}")
            return
        await converse(connection, await self.shelf.open(int(number)))


def _own(request: Request) -> bool:
    """No page of another site reads what is here: of what names its origin, it must be the host that is asked."""
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("Host")


def _of_loopback(request: Request) -> bool:
    """No other site's name that leads to this machine is answered: its pages could read what is here."""
    return urlsplit(f"//{request.headers.get('Host', '')}").hostname in LOOPBACK


def _asset(name: str) -> Answer | None:
    """A file of the page; nothing outside of it."""
    file = (ASSETS / name).resolve()
    if not file.is_relative_to(ASSETS.resolve()) or not file.is_file() or file.suffix not in TYPES:
        return None
    return file.read_bytes(), file.suffix


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _response(status: int, content: bytes, kind: str = ".txt") -> Response:
    headers = Headers()
    headers["Content-Type"] = TYPES.get(kind, "text/plain; charset=utf-8")
    headers["Content-Length"] = str(len(content))
    headers["Cache-Control"] = "no-store"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Connection"] = "close"
    return Response(status, http.HTTPStatus(status).phrase, headers, content)
