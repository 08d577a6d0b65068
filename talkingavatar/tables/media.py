"""Pictures and videos of runs: embedded in the page while there is room, linked beyond."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from talkingavatar.paths import cache_root
from talkingavatar.tables.runs import Run

FOLDERS = ("media", "evaluation")
FIRST = (
    "side_by_side",
    "contact_sheet",
    "full",
    "views",
    "edits",
    "edits_faces",
    "emotions_spoken",
    "turn",
    "turntable",
    "silent",
    "expression_sweep",
)
WIDEST = 1600  # pixels of an embedded picture, either side
QUALITY = 80  # of its JPEG
JPEG = b"\xff\xd8", b"\xff\xd9"  # how a whole one begins and ends
LARGEST_VIDEO = 8 << 20  # bytes; a larger one is linked


@dataclass(frozen=True)
class Medium:
    """A picture or video of a run, embedded (`content`, base64) or linked (`href`, from the page)."""

    run: int  # its place among the runs
    title: str
    video: bool
    content: str = ""
    href: str = ""


def collect(runs: Sequence[Run], page: Path, room: int, advance: Callable[[], None]) -> list[Medium]:
    """All media of all runs, the most looked at first, embedded up to `room` bytes in all."""
    files = sorted(_files(runs), key=lambda found: (_rank(found[1]), found[0], found[1].name))
    media: list[Medium] = []
    workers = min(8, os.cpu_count() or 1)
    full = room <= 0  # a picture did not fit: no other is made smaller, they are much alike
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(files), 4 * workers):
            chunk = files[start : start + 4 * workers]
            wanted = [_fits(file, room) if file.suffix == ".mp4" else not full for _, file in chunk]
            contents = pool.map(lambda file, wanted: _content(file) if wanted else b"", (f for _, f in chunk), wanted)
            for (run, file), content in zip(chunk, contents, strict=True):
                text = base64.b64encode(content).decode()
                full |= file.suffix != ".mp4" and len(text) > room
                text = text if len(text) <= room else ""
                room -= len(text)
                href = "" if text else _link(file, page)
                media.append(Medium(run, _title(file), file.suffix == ".mp4", text, href))
                advance()
    return media


def count(runs: Sequence[Run]) -> int:
    """How many there are to collect."""
    return sum(1 for _ in _files(runs))


def _files(runs: Sequence[Run]) -> Iterator[tuple[int, Path]]:
    for place, run in enumerate(runs):
        for folder in FOLDERS:
            try:
                names = sorted(file.name for file in (run.path / folder).iterdir())
            except OSError:
                continue
            drawn_anew = ("sync_", ".")  # the page draws sync curves itself; files still being written
            for name in names:
                if name.endswith((".png", ".mp4")) and not name.startswith(drawn_anew) and ".tmp" not in name:
                    yield place, run.path / folder / name


def _rank(file: Path) -> int:
    return FIRST.index(file.stem) if file.stem in FIRST else len(FIRST)


def _title(file: Path) -> str:
    place = "evaluated, " if file.parent.name == "evaluation" else ""
    return place + file.stem.replace("_", " ")


def _link(file: Path, page: Path) -> str:
    """From the page to a file."""
    return Path(os.path.relpath(file.absolute(), page.absolute().parent)).as_posix()


def _fits(video: Path, room: int) -> bool:
    """Whether it is small enough, in base64 too."""
    try:
        size = video.stat().st_size
    except OSError:
        return False
    return size <= LARGEST_VIDEO and size * 4 / 3 <= room


def _content(file: Path) -> bytes:
    """The bytes to embed; none where the file is not whole yet."""
    try:
        if file.suffix == ".mp4":
            return file.read_bytes()
        return _thumbnail(file)
    except (OSError, SyntaxError, ValueError):  # Pillow's errors of a broken picture
        return b""


def _thumbnail(file: Path) -> bytes:
    """A picture made smaller, as JPEG; kept in the cache."""
    facts = file.stat()
    stated = f"{file.absolute()} {facts.st_mtime_ns} {facts.st_size} {WIDEST} {QUALITY}"
    kept = cache_root() / "report" / f"{hashlib.sha256(stated.encode()).hexdigest()[:24]}.jpg"
    if kept.is_file() and (content := kept.read_bytes()).startswith(JPEG[0]) and content.endswith(JPEG[1]):
        return content
    with Image.open(file) as picture:
        small = picture.convert("RGB")
        small.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS, reducing_gap=2.0)
        stream = io.BytesIO()
        small.save(stream, "JPEG", quality=QUALITY, optimize=True)
    content = stream.getvalue()
    with suppress(OSError):  # a cache that cannot be written is done without
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, content)
    return content


def write_atomically(file: Path, content: bytes) -> None:
    """Either the old content or the new, whoever writes at the same time."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    temporary.replace(file)
