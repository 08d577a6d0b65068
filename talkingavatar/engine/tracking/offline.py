"""W&B's offline files, read back: what a tracked run has been told, whatever killed it.

A file `*.wandb` is a log in the manner of LevelDB: a header of 7 bytes, then blocks of 32 KiB of checksummed chunks; a
record is one chunk, or a first, middle ones and a last. W&B writes it every 15 seconds and at the end: the file of a
killed run ends anywhere, inside a record too.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

HEADER = struct.Struct("<IHB")  # of a chunk: checksum, length, kind
BLOCK = 32768
WHOLE, FIRST, _, LAST = range(1, 5)  # kinds of chunks


def records(file: Path) -> Iterator[tuple[bytes, int]]:
    """Each whole record, and the byte where it ends; a torn or broken one ends them."""
    data, at, parts = file.read_bytes(), HEADER.size, b""
    while True:
        if BLOCK - at % BLOCK < HEADER.size:
            at += BLOCK - at % BLOCK
        if at + HEADER.size > len(data):
            return
        checksum, length, kind = HEADER.unpack_from(data, at)
        chunk = data[at + HEADER.size : at + HEADER.size + length]
        if len(chunk) < length or zlib.crc32(chunk, zlib.crc32(bytes([kind]))) != checksum:
            return
        at += HEADER.size + length
        parts = chunk if kind in (WHOLE, FIRST) else parts + chunk
        if kind in (WHOLE, LAST):
            yield parts, at


def mend(file: Path) -> bool:
    """Cut off what a kill left of a last record: `wandb sync` would stop there. False where nothing whole is in it."""
    end = max((end for _, end in records(file)), default=0)
    if 0 < end < file.stat().st_size:
        with file.open("rb+") as stream:
            stream.truncate(end)
    return end > 0


def files(run: Path) -> list[Path]:
    """All of a run directory, in the order they were begun."""
    return sorted(run.glob("wandb/*run-*/*.wandb"), key=lambda file: file.parent.name.split("run-")[-1])


def tracked_rows(run: Path) -> Iterator[dict[str, Any]]:
    """What was logged to W&B in a run directory: a dict a row, in the order of logging."""
    for record in _parsed(run):
        if record.HasField("history"):
            yield _values(record.history.item)


def tracked_summary(run: Path) -> dict[str, Any]:
    """W&B's summary of a run as it stands after all that was logged in its directory."""
    found: dict[str, Any] = {}
    for record in _parsed(run):
        found |= _values(record.history.item) | _values(record.summary.update)
    return found


def _parsed(run: Path) -> Iterator[Any]:
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    for file in files(run):
        for content, _ in records(file):
            record = Record()
            record.ParseFromString(content)
            yield record


def _values(items: Iterable[Any]) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
