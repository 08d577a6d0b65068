"""Which splats each tile blends, from front to back."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from typing import no_type_check

import numpy as np

from talkingavatar.splatting.cpu.launch import kernel, spread


@kernel
@no_type_check
def sort_depths(depths, order, spare):
    """Stable radix sort of `order` (splats) by positive depths, whose bits sort as they do; 11 bits a pass."""
    bits = depths.view(np.uint32)
    for shift in (0, 11, 22):
        places = np.zeros(2049, np.int64)
        for g in order:
            places[((bits[g] >> np.uint32(shift)) & np.uint32(2047)) + 1] += 1
        places = np.cumsum(places)
        for g in order:
            digit = (bits[g] >> np.uint32(shift)) & np.uint32(2047)
            spare[places[digit]] = g
            places[digit] += 1
        order[:] = spare


@kernel
@no_type_check
def count_tiles(boxes, tiles_x, places):
    """How many splats each tile has."""
    for g in range(len(boxes)):
        for y in range(boxes[g, 1], boxes[g, 3]):
            for tile in range(y * tiles_x + boxes[g, 0], y * tiles_x + boxes[g, 2]):
                places[tile] += 1


@kernel
@no_type_check
def fill_tiles(part, parts, order, boxes, tiles_x, first, places, ids, slots):
    """Write the splats, front to back, where `places` says (which move on), and into `slots` where that was.

    Each part goes through all of them, for its own rows of tiles: every `parts`-th.
    """
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
    order = np.flatnonzero(touched).astype(np.int32)
    sort_depths(np.ascontiguousarray(depths), order, np.empty_like(order))
    places, edges = np.zeros(tiles_x * tiles_y, np.int64), int(touched.sum())
    ids, slots = np.empty(edges, np.int32), np.empty(edges, np.int32)
    count_tiles(boxes, tiles_x, places)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(places)])
    spread(fill_tiles, order, boxes, tiles_x, first, starts[:-1].copy(), ids, slots, shares=1)
    return starts, ids, first, slots
