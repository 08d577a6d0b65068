"""Interlaced pictures to whole ones, by ffmpeg's own filter; pictures that are whole pass unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import av
from av.filter import Graph

# One picture per frame, of frames marked as interlaced only, in the order of fields that each frame states.
BWDIF = "mode=send_frame:parity=auto:deint=interlaced"
WOVEN = "mode=send_frame:parity={}:deint=all"  # of all, where none says that it is
LOOKED = 50  # frames
SHARE = 0.4  # of them, that must be seen to be woven of two fields in one order: a head is still at times


def order_of(frames: Iterable[av.VideoFrame]) -> str:
    """Of frames that are woven of two fields and do not say so, by ffmpeg's idet, tff or bff; else nothing."""
    graph: Graph | None = None
    form: tuple[str, int, int] | None = None
    counts: dict[str, float] = {}
    looked = 0
    for frame in islice(frames, LOOKED):
        if graph is None:
            graph, form = _graph(frame, "idet"), _form(frame)
        if form != _form(frame):
            break
        graph.vpush(frame)
        for seen in _ready(graph):
            counts, looked = {order: _counted(seen, order) for order in ("tff", "bff")}, looked + 1
    order = max(counts, key=counts.__getitem__, default="")
    others = sum(counts.values()) - counts.get(order, 0)
    return order if counts and counts[order] > SHARE * looked and others < 0.1 * counts[order] else ""


def _counted(frame: av.VideoFrame, order: str) -> float:
    """Frames so far that were woven in this order."""
    return float(frame.metadata.get(f"lavfi.idet.multiple.{order}", 0))


def whole(frames: Iterable[av.VideoFrame], order: str = "") -> Iterator[av.VideoFrame]:
    """The same frames, as many, the interlaced ones deinterlaced (bwdif: Yadif's edges, the BBC's w3fdif between).

    Args:
        order: of the fields of all, where frames do not tell (`order_of`).
    """
    graph: Graph | None = None
    form: tuple[str, int, int] | None = None
    for frame in frames:
        if graph is not None and form != _form(frame):
            yield from _rest(graph)
            graph = None
        if graph is None and not (order or frame.interlaced_frame):
            yield frame
            continue
        if graph is None:
            graph = _graph(frame, "bwdif", WOVEN.format(order) if order else BWDIF)
            form = _form(frame)
        graph.vpush(frame)
        yield from _ready(graph)
    if graph is not None:
        yield from _rest(graph)


def _form(frame: av.VideoFrame) -> tuple[str, int, int]:
    return frame.format.name, frame.width, frame.height


def _graph(frame: av.VideoFrame, name: str, options: str | None = None) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(source, graph.add(name, options), graph.add("buffersink")).configure()
    return graph


def _ready(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (BlockingIOError, EOFError):
            return


def _rest(graph: Graph) -> Iterator[av.VideoFrame]:
    graph.vpush(None)
    yield from _ready(graph)
