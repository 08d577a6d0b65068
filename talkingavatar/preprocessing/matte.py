"""From a coarse person mask to a matte that keeps hair and fingers, and the frame composited on white with it.

Per frame: the coarse mask is mended (`person.py`); a band of doubt round its edge and round the hands; in it, coverage
from colours near by and from the clean plate (`plate.py`), where the camera stands still (`matte_kernels.sample`); then
neighbours of like colour agree, and pixels whose colour stays agree with the frames before and after. At the edges the
subject's own colour is estimated, so that no rim of the old background shows on the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw
from scipy import ndimage

from talkingavatar.preprocessing.keypoints import LEFT_HAND, RIGHT_HAND, Keypoints
from talkingavatar.preprocessing.matte_kernels import agree, deeper, local_mean, sample
from talkingavatar.preprocessing.patches import HALF
from talkingavatar.preprocessing.person import mended, one_person
from talkingavatar.preprocessing.plate import Plate, clean_plate, combined, enlarged, grown, mending_step, reduced
from talkingavatar.preprocessing.shake import Scene, scene, shifted
from talkingavatar.runtime.threads import in_order

Frame = UInt8[ndarray, "H W 3"]
Matte = UInt8[ndarray, "H W"]

FINGERS = tuple((base + i, base + i + 1) for base in (1, 5, 9, 13, 17) for i in range(3))
PALM = (0, 5, 9, 13, 17)
ARMS = ((3, 4), (6, 7))  # elbow and wrist in BODY_25, right and left
UPPER_ARMS = ((2, 3), (5, 6))  # shoulder and elbow
SURE_ARM = 0.8  # confidence from which an arm is where its joints are
SLEEVE, DOUBTFUL = 0.25, 0.6  # half of an arm's width as a share of its length; coverage taken for likely within
SURE_HAND = 0.6  # confidence from which a hand's bones are taken for sure subject
WHITE = 1.0
HAIR = 7  # units beyond the mask that hair may reach
SURE = 3  # units within the mask from which it is sure
SAMPLES = 45  # frames of a shot that its plate is made of
PROBED = 4  # of them every so many are asked whether the camera stands still
SHAKEN = 0.4  # pixels by which one that does not leaves its place
COARSE_MARGIN, MENDED_MARGIN = 5, 3  # units round a mask, as detected and as mended, that are not taken for background


@dataclass(frozen=True)
class Footage:
    """What a clip's matte is made from, at the capture's size."""

    frame: Callable[[int], Frame]
    coarse: Callable[[int], Matte]
    keypoints: Keypoints
    shots: list[tuple[int, int]]
    width: int
    height: int

    @property
    def unit(self) -> float:
        """The length in pixels that is 1 in a picture with a long side of 640."""
        return max(self.width, self.height) / 640


def plates(footage: Footage) -> list[Plate | None]:
    """The clean plate of each shot; None where the camera moves."""
    return [_plate(footage, shot) for shot in footage.shots]


def _plate(footage: Footage, shot: tuple[int, int]) -> Plate | None:
    """Made twice: by the first, the masks are mended that the second is made with, which is seen up to the outline."""
    chosen = np.unique(np.linspace(shot[0], shot[1] - 1, SAMPLES).astype(int))
    unit = footage.unit
    place, moves = _camera(footage, chosen)

    def stilled(values: Callable[[int], Shaped[ndarray, "H W ..."]]) -> Callable[[int], Shaped[ndarray, "H W ..."]]:
        """As the camera would have seen it had it stood still."""
        return values if place is None else lambda index: shifted(values(index), -moves[index])

    def made(clear: Callable[[int], Bool[ndarray, "H W"]], margin: float) -> Plate | None:
        clear, taken = stilled(clear), stilled(lambda i: footage.coarse(i) > 0.5 * 255)
        kept = np.array([i for i in chosen.tolist() if i in moves])
        plate = clean_plate(stilled(footage.frame), lambda i: ~clear(i), taken, kept, margin, unit)
        return None if plate is None else replace(plate, scene=place)

    first = made(lambda i: footage.coarse(i) <= 0.05 * 255, COARSE_MARGIN * unit)
    if first is None:
        return None
    found = in_order(lambda i: person(footage, i, first.behind(footage.frame(i)))[1] <= 0.3, list(moves))
    clear = dict(zip(moves, found, strict=True))
    return made(clear.__getitem__, MENDED_MARGIN * unit) or first


def _camera(footage: Footage, chosen: Int[ndarray, " S"]) -> tuple[Scene | None, dict[int, Float[ndarray, " 2"]]]:
    """What is followed of the scene, and by how many pixels x, y each of these frames shows it moved.

    No scene where the camera stands still, or moves otherwise than by a shift; frames in which it is not found are
    left out.
    """
    still = None, dict.fromkeys(chosen.tolist(), np.zeros(2))
    middle = int(chosen[len(chosen) // 2])
    step = mending_step(footage.frame(middle))
    small = reduced(footage.coarse(middle).astype(np.float32), step)
    place = scene(reduced(footage.frame(middle), step), ~grown(small > 0.05 * 255, HALF))
    measured: dict[int, Float[ndarray, " 2"]] = {}
    for index in [*chosen[::PROBED].tolist(), *chosen.tolist()]:
        if index not in measured and (by := place.shift(reduced(footage.frame(index), step))) is not None:
            measured[index] = by * step
        if index == chosen[::PROBED][-1] and not _shaken(measured):
            return still
    found = {index: measured[index] for index in chosen.tolist() if index in measured}
    return (place, found) if len(found) > 0.8 * len(chosen) else still


def _shaken(moves: dict[int, Float[ndarray, " 2"]]) -> bool:
    """Whether the camera stands elsewhere in many of these frames."""
    return bool(moves) and float(np.mean([np.linalg.norm(move) > SHAKEN for move in moves.values()])) > 0.2


def background(of_shots: list[Plate | None]) -> Plate | None:
    """One plate for the whole clip, where all shots show the same background."""
    return combined(of_shots)


def refine(
    footage: Footage, of_shots: list[Plate | None], start: int = 0, stop: int | None = None
) -> Iterator[tuple[Matte, Frame]]:
    """Matte and frame composited on white, of frames from `start` to `stop`, in order.

    Args:
        of_shots: `plates(footage)`.
        start, stop: any range; a result depends on the frame and its two neighbours alone.
    """
    stop = len(footage.keypoints) if stop is None else stop
    shots = dict(enumerate(footage.shots))
    shot_of = {index: number for number, (first, last) in shots.items() for index in range(first, last)}
    needed = range(max(0, start - 1), min(len(footage.keypoints), stop + 1))

    def apart(index: int) -> Layer:
        return separate(footage, index, of_shots[shot_of[index]])

    def with_neighbours() -> Iterator[tuple[Layer, list[Layer]]]:
        made = in_order(apart, needed)
        layers: dict[int, Layer] = {}
        for index in range(start, stop):
            for wanted in range(max(index - 1, needed.start), min(index + 2, needed.stop)):
                if wanted not in layers:
                    layers[wanted] = next(made)
            beside = [i for i in (index - 1, index + 1) if i in layers and shot_of[i] == shot_of[index]]
            yield layers[index], [layers[i] for i in beside]
            layers.pop(index - 1, None)

    yield from in_order(lambda found: found[0].settled(found[1]).finished(), with_neighbours())


@dataclass(frozen=True)
class Layer:
    """One frame taken apart: picture = alpha · subject + (1 - alpha) · ground."""

    image: Float[ndarray, "H W 3"]
    alpha: Float[ndarray, "H W"]
    subject: Float[ndarray, "H W 3"]
    ground: Float[ndarray, "H W 3"]

    def settled(self, beside: list[Layer]) -> Layer:
        """Coverage averaged with that of neighbouring frames where the picture did not change."""
        total, weight = self.alpha.copy(), np.ones_like(self.alpha)
        for other in beside:
            change = ndimage.uniform_filter(((self.image - other.image) ** 2).sum(axis=2), 3)
            same = np.exp(-change / (2 * 0.03**2))
            total += same * other.alpha
            weight += same
        return Layer(self.image, total / weight, self.subject, self.ground)

    def finished(self) -> tuple[Matte, Frame]:
        """8-bit matte and composite on white. Faint coverage is noise: it goes, and nearly full becomes full."""
        alpha = np.clip((self.alpha - 0.06) / 0.88, 0, 1)[..., None]
        exact = (self.image - (1 - alpha) * self.ground) / np.maximum(alpha, 0.05)
        # Taking the background off is exact where coverage is high and unsteady where it is low.
        trust = np.clip(2 * alpha - 0.6, 0, 1)
        colour = np.clip(trust * exact + (1 - trust) * self.subject, 0, 1)
        composited = alpha * colour + (1 - alpha) * WHITE
        return (
            (alpha[..., 0] * 255 + 0.5).astype(np.uint8),
            (composited * 255 + 0.5).astype(np.uint8),
        )


def person(
    footage: Footage, index: int, plate: Plate | None
) -> tuple[Float32[ndarray, "H W 3"], Float32[ndarray, "H W"]]:
    """A frame in [0, 1] and its mended mask."""
    picture, coarse = footage.frame(index), footage.coarse(index).astype(np.float32) / 255
    step = mending_step(picture)
    mask = mended(
        reduced(picture, step).astype(np.float32) / 255,
        reduced(np.maximum(coarse, DOUBTFUL * near_arms(footage, index)), step),
        None if plate is None else plate.small,
        near_hands(footage, index)[::step, ::step],
        footage.unit / step,
    )
    return picture.astype(np.float32) / 255, enlarged(mask, step, picture.shape[:2])


def near_hands(footage: Footage, index: int) -> Bool[ndarray, "H W"]:
    """Round the hands that were seen."""
    _, near = _drawn(footage.keypoints.points[index], (footage.height, footage.width), footage.unit)
    return near


def near_arms(footage: Footage, index: int) -> Bool[ndarray, "H W"]:
    """As thick as sleeves are, round the arms that were seen for sure; a net loses elbows before patterns."""
    picture = Image.new("1", (footage.width, footage.height))
    draw, points = ImageDraw.Draw(picture), footage.keypoints.points[index]
    for a, b in (*UPPER_ARMS, *ARMS):
        if min(points[a, 2], points[b, 2]) < SURE_ARM:
            continue
        thick = SLEEVE * float(np.linalg.norm(points[a, :2] - points[b, :2]))
        draw.line([*points[a, :2].tolist(), *points[b, :2].tolist()], fill=1, width=max(1, round(2 * thick)))
        for x, y, _ in points[[a, b]].tolist():
            draw.ellipse([x - thick, y - thick, x + thick, y + thick], fill=1)
    return np.array(picture)


def separate(footage: Footage, index: int, plate: Plate | None) -> Layer:
    """One frame by itself."""
    plate = None if plate is None else plate.behind(footage.frame(index))
    image, mask = person(footage, index, plate)
    labels = band(mask, footage.keypoints.points[index], footage.unit)
    if plate is not None:
        # Between strands of hair the mended mask is full; what the net doubts there, the plate tells exactly.
        unsure = ~deeper(footage.coarse(index) > 0.9 * 255, SURE * footage.unit)
        labels[(labels == 2) & unsure & plate.seen] = 1
    mask = ndimage.gaussian_filter(mask, 2 * footage.unit)
    window = 2 * max(1, round(footage.unit)) + 1
    inner, outer = local_mean(image, labels == 2, window), local_mean(image, labels == 0, window)
    behind = np.zeros_like(image) if plate is None else plate.image.astype(np.float32) / 255
    known = np.zeros(labels.shape, bool) if plate is None else plate.seen
    alpha, confidence, subject, ground = sample(
        image, labels, mask, inner, outer, behind, known, round(40 * footage.unit)
    )
    alpha, subject, ground = agree(image, labels, alpha, confidence, subject, ground, max(1, round(3 * footage.unit)))
    alpha = np.where(one_person(alpha > 0.1, near_hands(footage, index)), alpha, 0)
    return Layer(image, alpha, subject, ground)


def band(coarse: Float[ndarray, "H W"], points: Float[ndarray, "135 3"], unit: float) -> UInt8[ndarray, "H W"]:
    """0 where surely background, 2 where surely subject, 1 in doubt.

    The coarse mask is sure a few pixels off its edge. Fingers and forearms that were seen are subject along their
    bones, and their surroundings are in doubt, however sure the mask is.
    """
    inside, outside = deeper(coarse > 0.9, SURE * unit), deeper(coarse < 0.06, HAIR * unit)
    bones, near = _drawn(points, coarse.shape, unit)
    labels = np.full(coarse.shape, 1, np.uint8)
    labels[outside & ~near] = 0
    labels[inside | bones] = 2
    return labels


def _drawn(
    points: Float[ndarray, "135 3"], shape: tuple[int, int], unit: float
) -> tuple[Bool[ndarray, "H W"], Bool[ndarray, "H W"]]:
    """The bones of hands and forearms, and what surrounds the hands'."""
    bones, near = Image.new("1", shape[::-1]), Image.new("1", shape[::-1])
    for part in (LEFT_HAND, RIGHT_HAND):
        _draw_hand(ImageDraw.Draw(bones), ImageDraw.Draw(near), points[part])
    for elbow, wrist in ARMS:
        _draw_arm(ImageDraw.Draw(bones), points[elbow], points[wrist], unit)
    return np.array(bones), np.array(near)


def _draw_hand(bones: ImageDraw.ImageDraw, near: ImageDraw.ImageDraw, hand: Float[ndarray, "21 3"]) -> None:
    if not hand[0, 2] > 0:
        return
    length = float(np.linalg.norm(hand[:, :2].max(axis=0) - hand[:, :2].min(axis=0)))
    spread = 0.13 * length
    for a, b in (*FINGERS, *((0, base) for base in (1, 5, 9, 13, 17))):
        ends = [*hand[a, :2].tolist(), *hand[b, :2].tolist()]
        near.line(ends, fill=1, width=max(1, round(2 * spread)))
    for x, y, _ in hand.tolist():
        near.ellipse([x - spread, y - spread, x + spread, y + spread], fill=1)
    if hand[0, 2] < SURE_HAND:
        return
    for a, b in FINGERS:
        bones.line([*hand[a, :2].tolist(), *hand[b, :2].tolist()], fill=1, width=max(1, round(0.025 * length)))
    bones.polygon([tuple(hand[i, :2].tolist()) for i in PALM], fill=1)


def _draw_arm(
    bones: ImageDraw.ImageDraw, elbow: Float[ndarray, " 3"], wrist: Float[ndarray, " 3"], unit: float
) -> None:
    if min(elbow[2], wrist[2]) < SURE_ARM:
        return
    near_wrist = elbow + 0.9 * (wrist - elbow)
    bones.line([*elbow[:2].tolist(), *near_wrist[:2].tolist()], fill=1, width=max(1, round(3 * unit)))
