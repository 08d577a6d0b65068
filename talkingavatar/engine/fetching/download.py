"""Files from the network: resumed where they were cut, whole and checked or not there."""

import os
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

from talkingavatar.errors import UserError
from talkingavatar.runtime.files import sha256
from talkingavatar.runtime.progress import ProgressBar

PIECE = 1 << 20  # bytes read at a time, and counted by the bar
PATIENCE = 30  # seconds of silence before a server is given up


def download(url: str, file: Path, digest: str, show: bool = True) -> Path:
    """`file`, fetched unless it is there already; what a stopped download has got lies in `<file>.part` and is kept.

    Args:
        digest: SHA-256 of the whole file; what does not have it is thrown away.

    Raises:
        UserError: no network, no such file there, no room here, or other bytes than published.
    """
    if file.is_file() and sha256(file) == digest:
        return file
    part = file.with_name(file.name + ".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not (part.is_file() and sha256(part) == digest):
            _receive(url, part, file.name, show)
    except urllib.error.HTTPError as error:
        raise _refusal(url, file, f"the server's answer {error.code} ({error.reason})") from error
    except (urllib.error.URLError, TimeoutError, HTTPException, ConnectionError) as error:
        raise _refusal(url, file, f"no connection ({getattr(error, 'reason', error) or error})") from error
    except OSError as error:
        raise UserError(
            str(part), error.strerror or str(error), "a file that can be written", "make room or change the folder"
        ) from error
    if (got := sha256(part)) != digest:
        part.unlink()
        raise UserError(url, f"SHA-256 {got}", digest, "try again; if it stays so, the file there has changed")
    part.replace(file)
    return file


def _refusal(url: str, file: Path, found: str) -> UserError:
    action = f"try again (what has come is kept), or fetch it on another machine and put it there as {file}"
    return UserError(url, found, "the file to be had there", action)


def _receive(url: str, part: Path, title: str, show: bool) -> None:
    """Append what is missing; a server that cannot begin in the middle sends all of it again."""
    with _answer(url, part) as answer:
        resumed = answer.status == 206
        done = part.stat().st_size if resumed else 0
        total = done + int(answer.headers.get("Content-Length") or 0)
        bar = ProgressBar(f"{title} (MiB)", max(1, -(-total // PIECE)), show, done // PIECE)
        with part.open("ab" if resumed else "wb") as written, bar:
            while piece := answer.read(PIECE):
                written.write(piece)
                bar.advance()
            written.flush()
            os.fsync(written.fileno())
    if part.stat().st_size < total:
        raise ConnectionError(f"cut after {part.stat().st_size} of {total} bytes")


def _answer(url: str, part: Path) -> Any:
    """The server's, from where `part` ends."""
    done = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        return urllib.request.urlopen(request, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # it has no more than lies here, which is not it
            raise
        part.unlink()
        return urllib.request.urlopen(url, timeout=PATIENCE)
