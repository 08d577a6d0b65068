"""The one head of a photograph: found, refused where nothing can be made of it, and cut out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image

from talkingavatar.errors import UserError
from talkingavatar.preprocessing.landmarks.detections import BESIDE
from talkingavatar.preprocessing.landmarks.mediapipe_process import track

FIELD = "portrait"
Picture = UInt8[ndarray, "H W 3"]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1, pixels
LOOKED_AT = 1280  # long side in which faces are looked for
SHARE, BEGIN = (
    1 / 3,
    np.linspace(0, 2 / 3, 5),
)  # windows in which small faces are looked for: of each side of the picture
ROOM, ABOVE = 3.0, 0.45  # side of the cut in heights of the face, and its share above the middle of the face
SMALLEST = 64  # pixels of a face's height
ACTION = "give another picture"
NOSE, CHEEKS = 1, (234, 454)  # points of MediaPipe's mesh
MOST_ASIDE = 0.36  # of the nose from the middle between the cheeks, in their distance: about 35 degrees
UNDER_EYES, BESIDE_NOSE = (145, 374), (50, 280)  # on the lower lids; on the cheeks
SHADED = 0.4  # of the cheeks' brightness: so dark are eyes behind sunglasses alone


@dataclass(frozen=True)
class Face:
    """Its box, from the brows to the chin, pixels of the photograph."""

    box: Float[ndarray, " 4"]

    @property
    def height(self) -> float:
        return float(self.box[3] - self.box[1])

    def cut(self, width: int, height: int) -> Box:
        """A square with room round hair and shoulders, as far as the photograph has it."""
        x, y = (self.box[:2] + self.box[2:]) / 2
        side = int(min(ROOM * self.height, width, height))
        left = int(np.clip(x - side / 2, 0, width - side))
        top = int(np.clip(y - ABOVE * side, 0, height - side))
        return left, top, left + side, top + side


def find_head(picture: Picture, python: Path) -> Box:
    """Where the one head is to be cut out.

    Args:
        python: `mediapipe_process.interpreter()`.

    Raises:
        UserError: no face, more than one, or too small a face.
    """
    height, width = picture.shape[:2]
    faces = _faces([(0, 0, width, height)], picture, python) or _faces(_windows(width, height), picture, python)
    if not faces:
        raise UserError(
            FIELD,
            "no face",
            f"one person who faces the camera, the face at least {SMALLEST} pixels high",
            ACTION + ", or crop=x0,y0,x1,y1",
        )
    largest = max(face.height for face in faces)
    beside = sorted((face for face in faces if face.height >= BESIDE * largest), key=lambda face: face.box[0])
    if len(beside) > 1:
        crops = " or ".join("crop=" + ",".join(map(str, face.cut(width, height))) for face in beside)
        raise UserError(FIELD, f"{len(beside)} faces", "one person", f"choose one, from left to right: {crops}")
    if largest < SMALLEST:
        expected = f"at least {SMALLEST} pixels"
        raise UserError(FIELD, f"a face {largest:.0f} pixels high", expected, "give the picture at its full size")
    return beside[0].cut(width, height)


def cut_out(picture: Picture, box: Box, size: int) -> UInt8[ndarray, "size size 3"]:
    """The square at the wanted size."""
    x0, y0, x1, y1 = box
    square = Image.fromarray(picture[y0:y1, x0:x1])
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS, reducing_gap=3.0))


def check_view(mesh: Float[ndarray, "478 2"]) -> None:
    """
    Raises:
        UserError: the mesh of the face is not there, or seen from aside.
    """
    if not np.isfinite(mesh).all():
        raise UserError(FIELD, "a face that the mesh does not fit", "a photograph of a face from the front", ACTION)
    left, right = mesh[list(CHEEKS)]
    aside = float((mesh[NOSE] - (left + right) / 2) @ (right - left) / max(np.square(right - left).sum(), 1e-6))
    if abs(aside) > MOST_ASIDE:
        raise UserError(FIELD, "a face from aside", "one turned by less than 35 degrees", ACTION)


def shaded_eyes(picture: Picture, mesh: Float[ndarray, "478 2"]) -> bool:
    """Whether the eyes cannot be seen: dark down to the lower lids, beside bright cheeks."""
    grey = picture.mean(2)
    reach = max(1, round(0.02 * float(np.linalg.norm(mesh[CHEEKS[0]] - mesh[CHEEKS[1]]))))

    def bright(points: Iterable[int]) -> list[float]:
        found = []
        for x, y in mesh[list(points)].round().astype(int):
            found.append(float(grey[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1].mean()))
        return found

    return all(eye < SHADED * cheek for eye, cheek in zip(bright(UNDER_EYES), bright(BESIDE_NOSE), strict=True))


def _windows(width: int, height: int) -> list[Box]:
    w, h = int(SHARE * width), int(SHARE * height)
    return [(int(x * width), int(y * height), int(x * width) + w, int(y * height) + h) for y in BEGIN for x in BEGIN]


def _faces(windows: list[Box], picture: Picture, python: Path) -> list[Face]:
    """Faces in windows of one size; one that several show counts once."""
    width, height = windows[0][2] - windows[0][0], windows[0][3] - windows[0][1]
    scale = min(1.0, LOOKED_AT / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shown = [np.asarray(Image.fromarray(picture[y0:y1, x0:x1]).resize(size)) for x0, y0, x1, y1 in windows]
    found: list[Face] = []
    for (x0, y0, _, _), record in zip(windows, track(shown, python), strict=True):
        for *box, score in record["faces"].astype(float):
            face = Face(np.array(box) / scale + (x0, y0, x0, y0))
            if score > 0 and not any(_same(face, other) for other in found):
                found.append(face)
    return found


def _same(a: Face, b: Face) -> bool:
    apart = np.abs((a.box[:2] + a.box[2:]) - (b.box[:2] + b.box[2:])).max() / 2
    return bool(apart < 0.5 * max(a.height, b.height))
