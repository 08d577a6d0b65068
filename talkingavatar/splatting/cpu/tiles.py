"""Which splats each tile blends, from front to back."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from typing import no_type_check

import numpy as np

from talkingavatar.splatting.cpu.launch import kernel, spread


@kernel
@no_type_check
def sort_depths(depths, order, spare):
    """Stable radix sort of `order` (splats) by positive depths, whose bits sort as they do; 11 bits a pass.

    Of those bits only what the depths differ by counts: two passes where the farthest is less than twice as far.
    """
    bits = depths.view(np.uint32)
    low, high = np.uint32(0xFFFFFFFF), np.uint32(0)
    for g in order:
        low, high = min(low, bits[g]), max(high, bits[g])
    for shift in (0, 11, 22):
        if shift > 0 and (high - low) >> np.uint32(shift) == 0:
            break
        places = np.zeros(2049, np.int64)
        for g in order:
            places[(((bits[g] - low) >> np.uint32(shift)) & np.uint32(2047)) + 1] += 1
        places = np.cumsum(places)
        for g in order:
            digit = ((bits[g] - low) >> np.uint32(shift)) & np.uint32(2047)
            spare[places[digit]] = g
            places[digit] += 1
        order[:] = spare


@kernel
@no_type_check
def count_tiles(boxes, places):
    """How many splats each tile has, row by row of tiles (tiles_y tiles_x): sums of where boxes begin and end."""
    tiles_y, tiles_x = places.shape
    change = np.zeros((tiles_y + 1, tiles_x + 1), np.int64)
    for g in range(len(boxes)):
        x0, y0, x1, y1 = boxes[g, 0], boxes[g, 1], boxes[g, 2], boxes[g, 3]
        change[y0, x0] += 1
        change[y0, x1] -= 1
        change[y1, x0] -= 1
        change[y1, x1] += 1
    for y in range(tiles_y):
        here = 0
        for x in range(tiles_x):
            here += change[y, x]
            places[y, x] = here + (places[y - 1, x] if y > 0 else 0)


@kernel
@no_type_check
def fill_tiles(part, parts, order, boxes, tiles_x, first, places, ids, slots):
    """Write the splats, front to back, where `places` says (which move on), and into `slots`, if any, where that was.

    Each part goes through all of them, for its own rows of tiles: every `parts`-th. A splat's tiles are one loop, not
    two, whose end alone surprises the processor.
    """
    for i in range(len(order)):
        g = np.uintp(order[i])
        x0, y0, x1, y1 = boxes[g, 0], boxes[g, 1], boxes[g, 2], boxes[g, 3]
        skipped, wide = (part - y0) % parts, x1 - x0
        own, tile, x = first[g] + skipped * wide, (y0 + skipped) * tiles_x + x0, 0
        for _ in range((y1 - y0 - skipped + parts - 1) // parts * wide):
            here = np.uintp(tile)
            place = places[here]
            ids[np.uintp(place)], places[here] = g, place + 1
            if len(slots) > 0:
                slots[own + x] = place
            x += 1
            end = x == wide
            own += parts * wide if end else 0
            tile += parts * tiles_x - wide + 1 if end else 1
            x = 0 if end else x


def bin_splats(
    boxes: np.ndarray, depths: np.ndarray, tiles_x: int, tiles_y: int, found_again: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sort splats by depth into tiles.

    Args:
        boxes: N 4 tiles (x0, y0, x1, y1) of each splat, x1 and y1 exclusive.
        depths: N, positive where the box is not empty.
        found_again: whether a splat is to find itself in ids, as its gradients do; else there are no slots.

    Returns:
        starts (tiles + 1) of each tile's run in ids; ids; first (N), where each splat's own run in slots
        begins; slots, the places in ids where a splat stands.
    """
    touched = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).astype(np.int64)
    first = np.cumsum(touched) - touched
    order = np.flatnonzero(touched).astype(np.int32)
    sort_depths(np.ascontiguousarray(depths), order, np.empty_like(order))
    counts = np.empty((tiles_y, tiles_x), np.int64)
    count_tiles(boxes, counts)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    ids, slots = np.empty(starts[-1], np.int32), np.empty(starts[-1] if found_again else 0, np.int32)
    spread(fill_tiles, order, boxes, tiles_x, first, starts[:-1].copy(), ids, slots, shares=1)
    return starts, ids, first, slots
