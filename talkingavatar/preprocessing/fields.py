"""Interlaced pictures to whole ones, by ffmpeg's own filter; pictures that are whole pass unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av
from av.filter import Graph

# One picture per frame, of frames marked as interlaced only, in the order of fields that each frame states.
BWDIF = "mode=send_frame:parity=auto:deint=interlaced"


def whole(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """The same frames, as many, the interlaced ones deinterlaced (bwdif: Yadif's edges, the BBC's w3fdif between)."""
    graph: Graph | None = None
    form: tuple[str, int, int] | None = None
    for frame in frames:
        if graph is not None and form != _form(frame):
            yield from _rest(graph)
            graph = None
        if graph is None and not frame.interlaced_frame:
            yield frame
            continue
        if graph is None:
            graph, form = _graph(frame), _form(frame)
        graph.vpush(frame)
        yield from _ready(graph)
    if graph is not None:
        yield from _rest(graph)


def _form(frame: av.VideoFrame) -> tuple[str, int, int]:
    return frame.format.name, frame.width, frame.height


def _graph(frame: av.VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(source, graph.add("bwdif", BWDIF), graph.add("buffersink")).configure()
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
