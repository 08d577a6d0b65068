"""How a stored picture becomes upright, by the display matrix that comes with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.filter import Graph
from jaxtyping import UInt8
from numpy import ndarray


@dataclass(frozen=True)
class Orientation:
    """Transposed first, then turned over."""

    transpose: bool = False
    columns: bool = False
    rows: bool = False

    def apply(self, picture: UInt8[ndarray, "h w 3"]) -> UInt8[ndarray, "H W 3"]:
        """The upright picture."""
        if self.transpose:
            picture = picture.transpose(1, 0, 2)
        return np.ascontiguousarray(picture[:: -1 if self.rows else 1, :: -1 if self.columns else 1])


TURNED = {90: Orientation(True, False, True), 180: Orientation(False, True, True), 270: Orientation(True, True, False)}


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """From libav's display matrix, rows (a b u) (c d v) (x y w): p' = a p + c q, q' = b p + d q, y down.

    Where PyAV cannot read a frame's side data, its rotation in steps of 90 degrees, without what mirrors it.
    """
    try:
        data: Any = _without_profile(frame).side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV knows not all kinds of side data
        return TURNED.get(round(frame.rotation / 90) * 90 % 360, Orientation())
    if data is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    if abs(b) > abs(a):
        return Orientation(True, c < 0, b < 0)
    return Orientation(False, a < 0, d < 0)


def _without_profile(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame without a colour profile: PyAV frees the name of one twice, and the process dies of it."""
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(source, graph.add("sidedata", "mode=delete:type=ICC_PROFILE"), graph.add("buffersink")).configure()
    graph.vpush(frame)
    graph.vpush(None)
    return graph.vpull()
