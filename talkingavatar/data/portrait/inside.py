"""What a portrait hides: the ball of an eye under its lids, teeth and tongue behind closed lips."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from scipy.ndimage import binary_erosion, distance_transform_edt
from torch import Tensor

from talkingavatar.body.face_mesh import FaceMesh

LEFT_EYE, RIGHT_EYE, TEETH, TONGUE, CAVITY, SKIN = range(6)  # kinds of a vertex
COLOURS = {TEETH: (0.80, 0.76, 0.70), TONGUE: (0.62, 0.30, 0.29), CAVITY: (0.35, 0.13, 0.13)}  # of a light skin
LIGHT = 0.62  # the skin's brightness that goes with those colours
SHADE = 0.05  # metres behind the lips at which the mouth is darker by e
EDGE = 0.06  # of the teeth's width, by which the rim of what a portrait shows of its mouth goes on
LEAST_SHOWN = 12  # pixels that tell what an eye or a row of teeth looks like


def kinds_of(mesh: FaceMesh) -> UInt8[ndarray, " N"]:
    """What each vertex is."""
    kinds = np.full(len(mesh), SKIN, np.uint8)
    regions = {CAVITY: ("mouth_cavity",), TONGUE: ("tongue",), TEETH: ("teeth_upper", "teeth_lower")}
    for kind, names in (regions | {LEFT_EYE: ("left_eye",), RIGHT_EYE: ("right_eye",)}).items():
        for name in names:
            kinds[mesh.part(name).numpy()] = kind
    return kinds


def mouth_colours(
    mesh: Float[Tensor, "N 3"], kinds: UInt8[ndarray, " N"], lips: float, brightness: float
) -> Float[ndarray, "N 3"]:
    """Colours of what lies inside the mouth of a mesh in the head's frame, darker further in.

    Args:
        lips: z of the lips, metres.
        brightness: of the portrait's skin, which is lit alike.
    """
    colours = np.zeros((len(kinds), 3), np.float32)
    for kind, colour in COLOURS.items():
        colours[kinds == kind] = colour
    depth = (lips - mesh[:, 2].numpy()).clip(0, None)
    return colours * (brightness / LIGHT * np.exp(-depth / SHADE))[:, None]


class Eye:
    """One eye of a portrait: every place of its ball looked up where the picture shows one like it.

    An eye is the same all round the pupil's axis, so that what a lid hides is taken from where it is seen.
    """

    def __init__(
        self,
        neutral: Float[ndarray, "n 2"],
        front: Bool[ndarray, " n"],
        screen: Float[ndarray, "n 2"],
        shown: Bool[ndarray, "H W"],
    ) -> None:
        """
        Args:
            neutral: the ball's vertices from its middle, x and y in the head's frame where it looks ahead, metres.
            front: those before the middle.
            screen: the same in the portrait, pixels.
            shown: pixels of the portrait that show this eye.
        """
        ahead = np.concatenate([neutral[front], np.ones((front.sum(), 1))], 1)
        self.to_picture = np.linalg.lstsq(ahead, screen[front], rcond=None)[0]
        inner = binary_erosion(shown)
        self.shown = inner if inner.sum() > LEAST_SHOWN else shown

    def places(
        self, own: Float[ndarray, "P 2"], at: Float[ndarray, "P 2"]
    ) -> tuple[Float[ndarray, "P 2"], Bool[ndarray, " P"]]:
        """Where the portrait shows places of the ball, pixels, and whether it does.

        Args:
            own: where they lie in the portrait, be they seen there or not, pixels.
            at: from the ball's middle, where it looks ahead, metres.
        """
        radius = np.linalg.norm(at, axis=1)
        angle = np.arctan2(at[:, 1], at[:, 0])
        best, found = own.astype(np.float64), showing(self.shown, own)
        level = np.where(np.cos(angle) >= 0, 0.0, np.pi)
        turned = [angle + share * _to(level, angle) for share in (0.25, 0.5, 0.75, 1.0)]
        for turn in (-angle, *turned, np.pi - angle, angle + np.pi, np.pi - level):
            self._look(radius, turn, best, found)
        for share in (0.9, 0.75, 0.6, 0.45):
            self._look(share * radius, level, best, found)
        return best, found

    def _look(
        self, radius: Float[ndarray, " P"], angle: Float[ndarray, " P"], best: ndarray, found: Bool[ndarray, " P"]
    ) -> None:
        place = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.ones(len(radius))], 1) @ self.to_picture
        new = showing(self.shown, place) & ~found
        best[new] = place[new]
        found |= new


class Teeth:
    """The portrait's own teeth, where its lips are apart: a card that rides on the skull."""

    def __init__(self, screen: Float[ndarray, "n 2"], shown: Bool[ndarray, "H W"]) -> None:
        """
        Args:
            screen: vertices of the upper teeth in the portrait, pixels.
            shown: pixels of the portrait that show the inside of the mouth.
        """
        self.screen, self.known = screen, bool(shown.sum() > LEAST_SHOWN)
        apart, self.nearest = distance_transform_edt(~shown, return_indices=True)
        self.shown = apart < EDGE * np.ptp(screen[:, 0])

    def places(
        self, target: Float[ndarray, "n 2"], at: Float[ndarray, "P 2"]
    ) -> tuple[Float[ndarray, "P 2"], Bool[ndarray, " P"]]:
        """Where the portrait shows pixels of the mouth, and whether it does; `target`: its upper teeth, pixels."""
        now = np.concatenate([target, np.ones((len(target), 1))], 1)
        back = np.linalg.lstsq(now, self.screen, rcond=None)[0]
        places = np.concatenate([at, np.ones((len(at), 1))], 1) @ back
        found = showing(self.shown, places) & self.known
        height, width = self.shown.shape
        column, row = (places[found].T.astype(int)).clip(0, np.array([[width - 1], [height - 1]]))
        inside = self.nearest[:, row, column] == np.stack([row, column])
        nearest = self.nearest[::-1, row, column].T + 0.5
        places[found] = np.where(inside.all(0)[:, None], places[found], nearest)
        return places, found


def showing(shown: Bool[ndarray, "H W"], places: Float[ndarray, "P 2"]) -> Bool[ndarray, " P"]:
    """What a mask says at places, pixels; its border goes on outside."""
    height, width = shown.shape
    return shown[places[:, 1].astype(int).clip(0, height - 1), places[:, 0].astype(int).clip(0, width - 1)]


def _to(goal: Float[ndarray, " P"], angle: Float[ndarray, " P"]) -> Float[ndarray, " P"]:
    return np.angle(np.exp(1j * (goal - angle)))


def face_lips(mesh: FaceMesh, head: Float[Tensor, "N 3"]) -> float:
    """z of the inner lips of a mesh in the head's frame, metres."""
    inner = mesh.part("lip_inner_upper") | mesh.part("lip_inner_lower")
    return float(torch.quantile(head[inner, 2], 0.9))
