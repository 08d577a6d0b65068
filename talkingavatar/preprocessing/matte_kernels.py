"""Loops over the unknown pixels of one frame.

Pictures are float32 in [0, 1]. Labels: 0 background, 1 unknown, 2 subject.
"""

import math
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from talkingavatar.runtime.compiled import compiled

RAYS = 8
ALIKE = 0.06  # mean distance of colours of what may be the same thing in two frames
NOISE = 0.03  # standard deviation of what the camera and its codec add to a colour
DOUBT = 0.35  # standard deviation of the coarse mask's error within the unknown band
TURNS, PULL, LIKE = 6, 2.5, 0.1  # of neighbours that agree: sweeps, log odds of one, distance of colours that are like


@no_type_check
@compiled
def sample(
    image: Float[ndarray, "H W 3"],
    labels: UInt8[ndarray, "H W"],
    coarse: Float[ndarray, "H W"],
    inner: Float[ndarray, "H W 3"],
    outer: Float[ndarray, "H W 3"],
    plate: Float[ndarray, "H W 3"],
    known: Bool[ndarray, "H W"],
    reach: int,
) -> tuple[Float[ndarray, "H W"], Float[ndarray, "H W"], Float[ndarray, "H W 3"], Float[ndarray, "H W 3"]]:
    """Coverage of each unknown pixel by the pair of a subject's and a background colour that explains it best.

    Shared sampling (Gastal and Oliveira, Eurographics 2010, section 4): candidates are met along rays, whose
    directions differ between neighbours. Where the clean plate is known it gives the background, as bright as there
    and as bright as near by. The best pair is the likeliest under camera noise and a normal prior about the coarse
    mask, so that colours too alike to tell apart leave the mask's word.

    Args:
        inner, outer: local means of the colours of the sure subject and of the sure background.
        plate, known: the clean plate and where it was seen.
        reach: of a ray, pixels.

    Returns:
        Coverage, confidence in [0, 1], subject's and background's colour.
    """
    height, width = labels.shape
    alpha = np.zeros((height, width), np.float32)
    confidence = np.ones((height, width), np.float32)
    subject, ground = image.copy(), image.copy()
    fronts, backs = np.zeros((RAYS, 3), np.float32), np.zeros((RAYS + 1, 3), np.float32)
    distance = np.zeros(RAYS, np.float32)
    rays_of = directions()
    for y in range(height):
        for x in range(width):
            if labels[y, x] != 1:
                alpha[y, x] = 1.0 if labels[y, x] == 2 else 0.0
                continue
            rays = rays_of[(x % 3) * 3 + y % 3]
            front_count, back_count = _meet(
                y, x, rays, labels, inner, outer, plate, known, reach, fronts, distance, backs
            )
            colour, prior = image[y, x], coarse[y, x]
            front, back, a, certainty = _likeliest(colour, prior, fronts[:front_count], distance, backs[:back_count])
            alpha[y, x], confidence[y, x] = a, 0.02 + certainty
            if front >= 0:
                subject[y, x], ground[y, x] = fronts[front], backs[back]
    return alpha, confidence, subject, ground


@no_type_check
@compiled
def directions() -> Float[ndarray, "9 R 2"]:
    """Of the rays, x and y; each of nine neighbours has its own."""
    turned = np.empty((9, RAYS, 2))
    for neighbour in range(9):
        for ray in range(RAYS):
            angle = 2.0 * math.pi * (ray + neighbour / 9.0) / RAYS
            turned[neighbour, ray] = math.cos(angle), math.sin(angle)
    return turned


@no_type_check
@compiled
def _meet(
    y: int,
    x: int,
    rays: Float[ndarray, "R 2"],
    labels: UInt8[ndarray, "H W"],
    inner: Float[ndarray, "H W 3"],
    outer: Float[ndarray, "H W 3"],
    plate: Float[ndarray, "H W 3"],
    known: Bool[ndarray, "H W"],
    reach: int,
    fronts: Float[ndarray, "R 3"],
    distance: Float[ndarray, " R"],
    backs: Float[ndarray, "R1 3"],
) -> tuple[int, int]:
    """Fill in the candidates a pixel's rays meet; how many of the subject and of the background."""
    height, width = labels.shape
    front_count, back_count = 0, 0
    for ray in range(RAYS):
        dx, dy = rays[ray]
        front, back = False, False
        for step in range(1, reach):
            sx, sy = int(x + dx * step + 0.5), int(y + dy * step + 0.5)
            if sx < 0 or sy < 0 or sx >= width or sy >= height or (front and back):
                break
            if labels[sy, sx] == 2 and not front:
                front = True
                for c in range(3):
                    fronts[front_count, c] = inner[sy, sx, c]
                distance[front_count] = step / reach
                front_count += 1
            elif labels[sy, sx] == 0 and not back:
                back = True
                if not known[y, x]:
                    for c in range(3):
                        backs[back_count, c] = outer[sy, sx, c]
                    back_count += 1
                elif known[sy, sx]:
                    # The subject's shadow dims what lies behind: by as much as the background near by.
                    lit = outer[sy, sx].sum() / max(plate[sy, sx].sum(), np.float32(0.03))
                    lit = min(max(lit, np.float32(0.6)), np.float32(1.2))
                    for c in range(3):
                        backs[back_count, c] = plate[y, x, c] * lit
                    back_count += 1
    if known[y, x]:
        backs[back_count] = plate[y, x]
        back_count += 1
    return front_count, back_count


@no_type_check
@compiled
def _likeliest(
    colour: Float[ndarray, " 3"],
    prior: float,
    fronts: Float[ndarray, "F 3"],
    distance: Float[ndarray, " R"],
    backs: Float[ndarray, "B 3"],
) -> tuple[int, int, float, float]:
    """The pair that explains a colour best: both indices (-1 where there is no pair), its coverage, its certainty."""
    noise, doubt = NOISE * NOISE, DOUBT * DOUBT
    best, front, back, chosen, certainty = 1e9, -1, -1, float(prior), 0.0
    for f in range(len(fronts)):
        for b in range(len(backs)):
            along, square, rest = 0.0, 1e-6, 0.0
            for c in range(3):
                span = fronts[f, c] - backs[b, c]
                along += (colour[c] - backs[b, c]) * span
                square += span * span
            # The likeliest coverage under the noise and the prior, of this pair.
            a = min(1.0, max(0.0, (along / noise + prior / doubt) / (square / noise + 1.0 / doubt)))
            for c in range(3):
                rest += (colour[c] - a * fronts[f, c] - (1.0 - a) * backs[b, c]) ** 2
            cost = rest / noise + (a - prior) ** 2 / doubt + distance[f]
            if cost < best:
                best, front, back, chosen = cost, f, b, a
                certainty = math.exp(-min(cost, 30.0) / 6.0) * square / (square + 0.02)
    return front, back, chosen, certainty


@no_type_check
@compiled
def agree(
    image: Float[ndarray, "H W 3"],
    labels: UInt8[ndarray, "H W"],
    alpha: Float[ndarray, "H W"],
    confidence: Float[ndarray, "H W"],
    subject: Float[ndarray, "H W 3"],
    ground: Float[ndarray, "H W 3"],
    radius: int,
) -> tuple[Float[ndarray, "H W"], Float[ndarray, "H W 3"], Float[ndarray, "H W 3"]]:
    """Unknown pixels of like colour and place agree on coverage and colours, the surer ones leading."""
    height, width = labels.shape
    smooth, front, back = alpha.copy(), subject.copy(), ground.copy()
    f, b = np.empty(3), np.empty(3)
    faded = np.empty((radius + 1, radius + 1))  # what a neighbour counts for, by its distance down and across
    for v in range(radius + 1):
        for u in range(radius + 1):
            faded[v, u] = math.exp(-(v**2 + u**2) / (0.5 * radius * radius))
    for y in range(height):
        for x in range(width):
            if labels[y, x] != 1:
                continue
            total, value, total_front, total_back = 1e-6, 1e-6 * alpha[y, x], 1e-6, 1e-6
            for c in range(3):
                f[c], b[c] = 1e-6 * subject[y, x, c], 1e-6 * ground[y, x, c]
            for sy in range(max(0, y - radius), min(height, y + radius + 1)):
                for sx in range(max(0, x - radius), min(width, x + radius + 1)):
                    apart = 0.0
                    for c in range(3):
                        apart += (image[y, x, c] - image[sy, sx, c]) ** 2
                    place = ((y - sy) ** 2 + (x - sx) ** 2) / (0.5 * radius * radius)
                    weight = confidence[sy, sx] * math.exp(-apart / (2 * 0.06 * 0.06) - place)
                    near = confidence[sy, sx] * faded[abs(y - sy), abs(x - sx)]
                    total += weight
                    value += weight * alpha[sy, sx]
                    with_front, with_back = near * alpha[sy, sx], near * (1.0 - alpha[sy, sx])
                    total_front += with_front
                    total_back += with_back
                    for c in range(3):
                        f[c] += with_front * subject[sy, sx, c]
                        b[c] += with_back * ground[sy, sx, c]
            smooth[y, x] = value / total
            for c in range(3):
                front[y, x, c], back[y, x, c] = f[c] / total_front, b[c] / total_back
    return smooth, front, back


@no_type_check
@compiled
def masked_median(
    stack: UInt8[ndarray, "S H W 3"], clear: Bool[ndarray, "S H W"], taken: Bool[ndarray, "S H W"], least: int
) -> tuple[UInt8[ndarray, "H W 3"], Float[ndarray, "H W"], Bool[ndarray, "H W"], Bool[ndarray, "H W"]]:
    """Per pixel: the median over the frames in which it is clear, its mean absolute deviation in [0, 1], whether seen,
    and whether in doubt: it looks the same in more frames that take it for the person than in clear ones.

    Args:
        least: fewest clear frames for a pixel to count as seen.
    """
    count, height, width = clear.shape
    median = np.zeros((height, width, 3), np.uint8)
    spread = np.zeros((height, width), np.float32)
    seen = np.zeros((height, width), np.bool_)
    doubted = np.zeros((height, width), np.bool_)
    values = np.zeros(count, np.float32)
    for y in range(height):
        for x in range(width):
            for c in range(3):
                n = 0
                for s in range(count):
                    if clear[s, y, x]:
                        values[n] = stack[s, y, x, c]
                        n += 1
                if n < least:
                    break
                middle = np.median(values[:n])
                median[y, x, c] = np.uint8(middle + 0.5)
                spread[y, x] += np.abs(values[:n] - middle).mean() / (3 * 255)
                seen[y, x] = True
            if seen[y, x]:
                alike = 0
                for s in range(count):
                    if taken[s, y, x]:
                        apart = 0.0
                        for c in range(3):
                            apart += abs(float(stack[s, y, x, c]) - float(median[y, x, c]))
                        alike += apart < 3 * 255 * ALIKE
                doubted[y, x] = alike > n
    return median, spread, seen, doubted


@no_type_check
@compiled
def settle(
    image: Float[ndarray, "H W 3"],
    plate: Float[ndarray, "H W 3"],
    known: Bool[ndarray, "H W"],
    labels: UInt8[ndarray, "H W"],
    odds: Float[ndarray, "H W"],
    coverage: Float[ndarray, "H W"],
) -> None:
    """Unknown pixels agree with the eight round them on whose they are, in place (mean field of a Potts model).

    Neighbours of like colour pull. An edge that the plate has too is the background's own and does not part them:
    else the outline would follow it (background cut, Sun et al., ECCV 2006, section 3).

    Args:
        odds: log odds of each unknown pixel by itself.
        coverage: 0 background to 1 subject, to begin with.
    """
    height, width = labels.shape
    for turn in range(TURNS):
        for step in range(height * width):
            at = step if turn % 2 == 0 else height * width - 1 - step
            y, x = at // width, at % width
            if labels[y, x] != 1:
                continue
            total = odds[y, x]
            for v in range(max(0, y - 1), min(height, y + 2)):
                for u in range(max(0, x - 1), min(width, x + 2)):
                    edge, new = 0.0, 0.0
                    for c in range(3):
                        across = image[y, x, c] - image[v, u, c]
                        edge += across * across
                        across -= plate[y, x, c] - plate[v, u, c]
                        new += across * across
                    if known[y, x] and known[v, u]:
                        edge = min(edge, new)
                    pull = PULL * (0.15 + 0.85 * math.exp(-edge / (2 * LIKE * LIKE)))
                    if v != y and u != x:
                        pull *= 0.7
                    if v != y or u != x:
                        total += pull * (2 * coverage[v, u] - 1)
            coverage[y, x] = 1 / (1 + math.exp(-total))


@no_type_check
@compiled
def deeper(region: Bool[ndarray, "H W"], distance: float) -> Bool[ndarray, "H W"]:
    """Pixels of a region farther than this from all that are not; the picture's edge is none."""
    height, width = region.shape
    reach = int(distance)
    above = np.empty((height, width), np.int16)  # rows to the nearest pixel outside, at most one beyond reach
    for y in range(height):
        for x in range(width):
            before = above[y - 1, x] if y else reach
            above[y, x] = min(before + 1, reach + 1) if region[y, x] else 0
    for y in range(height - 2, -1, -1):
        for x in range(width):
            above[y, x] = min(above[y, x], above[y + 1, x] + 1)
    deep = region.copy()
    for across in range(-reach, reach + 1):
        tall = 0
        while math.sqrt(across**2 + (tall + 1) ** 2) <= distance:
            tall += 1
        first, last = max(0, -across), min(width, width - across)
        for y in range(height):
            for x in range(first, last):
                deep[y, x] &= above[y, x + across] > tall
    return deep


@no_type_check
@compiled
def local_mean(image: Float[ndarray, "H W 3"], of: Bool[ndarray, "H W"], size: int) -> Float[ndarray, "H W 3"]:
    """Means over the pixels `of` a window of odd size round each of them; the picture is mirrored at its edges."""
    height, width = of.shape
    values, down = np.zeros((height, width, 4), np.float32), np.empty((height, width, 4), np.float32)
    for y in range(height):
        for x in range(width):
            if of[y, x]:
                values[y, x, :3], values[y, x, 3] = image[y, x], 1.0
    _running_mean(values.reshape(height, -1), size, down.reshape(height, -1))
    for y in range(height):
        _running_mean(down[y], size, values[y])
    means = np.empty((height, width, 3), np.float32)
    for y in range(height):
        for x in range(width):
            for c in range(3):
                means[y, x, c] = values[y, x, c] / max(values[y, x, 3], np.float32(1e-6))
    return means


@no_type_check
@compiled
def _running_mean(rows: Float[ndarray, "N M"], size: int, out: Float[ndarray, "N M"]) -> None:
    """Each row becomes the mean of those about it."""
    count, half = len(rows), size // 2
    total = np.zeros(rows.shape[1])
    for n in range(-half, half):
        for m in range(len(total)):
            total[m] += rows[_mirrored(n, count), m]
    for n in range(count):
        last, gone = _mirrored(n + half, count), _mirrored(n - half - 1, count)
        for m in range(len(total)):
            entering = np.float64(rows[last, m])
            total[m] += entering if n == 0 else entering - rows[gone, m]
            out[n, m] = total[m] / size


@no_type_check
@compiled
def _mirrored(index: int, count: int) -> int:
    """The index it stands for beyond either end."""
    if index < 0:
        return min(-index - 1, count - 1)
    return index if index < count else max(2 * count - 1 - index, 0)
