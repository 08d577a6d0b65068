"""What a portrait hides: the ball of an eye under its lids, teeth and tongue behind closed lips."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter
from torch import Tensor

from talkingavatar.body.face_mesh import FaceMesh

LEFT_EYE, RIGHT_EYE, TEETH, TONGUE, CAVITY, SKIN = range(6)  # kinds of a vertex
COLOURS = {TEETH: (0.80, 0.76, 0.70), TONGUE: (0.62, 0.30, 0.29), CAVITY: (0.35, 0.13, 0.13)}  # of a light skin
LIGHT = 0.62  # the skin's brightness that goes with those colours
SHADE = 0.05  # metres behind the lips at which the mouth is darker by e
PALE, DARK = 0.6, 0.35  # of the skin's redness and brightness, below which a pixel of the mouth is none of the lips
EDGE = 0.03  # of the teeth's width, by which the rim of what a portrait shows of its mouth goes on
LEAST_SHOWN = 12  # pixels that tell what a row of teeth looks like


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


def tooth_like(picture: UInt8[ndarray, "H W 3"], skin: Float[ndarray, " 3"]) -> Bool[ndarray, "H W"]:
    """Pixels that are of teeth or of the dark behind them: less red than the skin (lips are redder), or far darker."""
    smooth = gaussian_filter(picture.astype(np.float32), (1, 1, 0))
    red, green, _ = smooth.transpose(2, 0, 1)
    pale = (red - green) / red.clip(1) < PALE * (skin[0] - skin[1]) / max(skin[0], 1.0)
    return pale | (smooth.mean(2) < DARK * skin.mean())


def lips_alone(
    picture: UInt8[ndarray, "H W 3"], inside: Bool[ndarray, "H W"], teeth: Bool[ndarray, "H W"], reach: int
) -> UInt8[ndarray, "H W 3"]:
    """The picture without what shows between its lips: the nearest pixels of lips go on there.

    Args:
        inside: between the lips, as the mesh has it.
        teeth: `tooth_like`.
        reach: pixels by which the mesh's lips may lie over teeth.
    """
    hidden = binary_dilation(inside, iterations=reach) & binary_dilation(teeth)  # whose edges are mixed with lips
    row, column = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    return picture[row, column]


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


def face_lips(mesh: FaceMesh, head: Float[Tensor, "N 3"]) -> float:
    """z of the inner lips of a mesh in the head's frame, metres."""
    inner = mesh.part("lip_inner_upper") | mesh.part("lip_inner_lower")
    return float(torch.quantile(head[inner, 2], 0.9))
