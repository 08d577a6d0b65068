"""Which splats each tile blends, from front to back."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from typing import no_type_check

import numpy as np

from talkingavatar.splatting.cpu.launch import kernel, spread


@kernel
@no_type_check
def count_tiles(part, parts, order, boxes, tiles_x, places):
    """How many splats each tile has. Each part goes through all, for its own rows of tiles: every `parts`-th."""
    for i in range(len(order)):
        g = order[i]
        for y in range(boxes[g, 1] + (part - boxes[g, 1]) % parts, boxes[g, 3], parts):
            for tile in range(y * tiles_x + boxes[g, 0], y * tiles_x + boxes[g, 2]):
                places[tile] += 1


@kernel
@no_type_check
def fill_tiles(part, parts, order, boxes, tiles_x, first, places, ids, slots):
    """Write the splats, front to back, where `places` says (which move on), and into `slots` where that was."""
    for i in range(len(order)):
        g = order[i]
        wide = boxes[g, 2] - boxes[g, 0]
        for y in range(boxes[g, 1] + (part - boxes[g, 1]) % parts, boxes[g, 3], parts):
            own = first[g] + (y - boxes[g, 1]) * wide
            for x in range(wide):
                tile = y * tiles_x + boxes[g, 0] + x
                ids[places[tile]], slots[own + x] = g, places[tile]
                places[tile] += 1


def bin_splats(
    boxes: np.ndarray, depths: np.ndarray, tiles_x: int, tiles_y: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sort splats by depth into tiles.

    Args:
        boxes: N 4 tiles (x0, y0, x1, y1) of each splat, x1 and y1 exclusive.
        depths: N, positive where the box is not empty.

    Returns:
        starts (tiles + 1) of each tile's run in ids; ids; first (N), where each splat's own run in slots
        begins; slots, the places in ids where a splat stands.
    """
    touched = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).astype(np.int64)
    first = np.cumsum(touched) - touched
    visible = np.flatnonzero(touched)
    # Positive floats sort as their bits; the index below them breaks ties, so the order is always the same.
    keys = (depths[visible].view(np.uint32).astype(np.uint64) << np.uint64(32)) | visible.astype(np.uint64)
    keys.sort()
    order = (keys & np.uint64(0xFFFFFFFF)).astype(np.int32)
    places, edges = np.zeros(tiles_x * tiles_y, np.int64), int(touched.sum())
    ids, slots = np.empty(edges, np.int32), np.empty(edges, np.int32)
    spread(count_tiles, order, boxes, tiles_x, places, shares=1)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(places)])
    spread(fill_tiles, order, boxes, tiles_x, first, starts[:-1].copy(), ids, slots, shares=1)
    return starts, ids, first, slots
