"""Whether mattes made elsewhere are those of the person whose landmarks were seen: not inverted, not another's, not
empty."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from talkingavatar.errors import UserError
from talkingavatar.preprocessing.keypoints import Keypoints
from talkingavatar.preprocessing.ready_mattes import TASK, ReadyMattes

LOW, HIGH = 64, 192  # values that mean nobody, somebody
LEAST, MOST = 0.002, 0.998  # shares of a picture that a person covers
OFTEN = 0.5  # of the frames looked at


def turned_right(ready: ReadyMattes, keypoints: Keypoints) -> tuple[ReadyMattes, str | None]:
    """The mattes with the person white, and a line where they had to be turned round.

    Raises:
        UserError: the face lies outside of them.
    """
    frames = [frame for frame in ready.sample() if keypoints.faces[frame]]
    looks = [
        _look(matte, keypoints.face68()[frame]) for frame, (_, matte) in zip(frames, ready.read(frames), strict=True)
    ]
    outside = [face < LOW for face, _ in looks]
    if not looks or np.mean(outside) < OFTEN:
        return ready, None
    if np.mean([border > HIGH for _, border in looks]) >= OFTEN:
        return ready.inverted(), f"{ready.path}: the face is black, the edge of the picture white: taken as inverted"
    frame = frames[outside.index(True)]
    raise UserError("mattes", f"{ready.path}: the face outside of the matte in frame {frame} and others",
                    "mattes of the person, frame for frame", TASK)  # fmt: skip


def whole_mattes(ready: ReadyMattes, keypoints: Keypoints) -> Iterator[UInt8[ndarray, "H W"]]:
    """All of them, in order.

    Raises:
        UserError: one covers nothing where a face was seen, or everything.
    """
    for frame, (place, matte) in enumerate(ready.read(range(len(keypoints)))):
        share = float((matte > 127).mean())
        if share > MOST or (share < LEAST and keypoints.faces[frame]):
            found = f"{place}: {'all of the picture' if share > MOST else 'nothing'} covered, in frame {frame}"
            raise UserError(
                "mattes", found, "the person's coverage", "make it again, or cut that part out (start, end)"
            )
        yield matte


def _look(matte: UInt8[ndarray, "H W"], face: Float[ndarray, "68 3"]) -> tuple[float, float]:
    """Medians over the face's landmarks inside the picture, and over the picture's upper edge and corners."""
    height, width = matte.shape
    inside = face[np.isfinite(face[:, :2]).all(axis=1), :2].astype(int)
    inside = inside[((inside >= 0) & (inside < (width, height))).all(axis=1)]
    border = np.concatenate([matte[0], matte[: height // 2, 0], matte[: height // 2, -1]])
    return float(np.median(matte[inside[:, 1], inside[:, 0]])) if len(inside) else 255.0, float(np.median(border))
