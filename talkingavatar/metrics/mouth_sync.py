"""Lip sync without a network: how far the pixels of a mouth and the sound are apart, and how sure that is.

The mouth of every frame is kept as a small grey patch. The patches' leading principal components, freed of what
changes slower than a syllable, are predicted from the sound at every distance (`audio.offset`). Any method's video is
scored so, and the recording itself by the same code.

Signs are SyncNet's (methods.md E.1.4), so that both stand in one table. **Positive: the sound leads**, the picture
shows what was heard that many frames before. It is minus the offset of `preprocessing.sync`. Lips move a little before
the sound they shape, so a recording in sync may read a frame below 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from talkingavatar.audio.features import RATE
from talkingavatar.audio.loudness import SILENT
from talkingavatar.audio.offset import Watched, cepstra, peak_of, shot_numbers
from talkingavatar.errors import UserError

ROWS, COLUMNS = 24, 32  # of a patch
REACH = 0.6  # seconds tried to either side: SyncNet's 15 frames at 25 fps
LEAST = 3.0  # seconds of visible mouth that an offset may be told from
COMPONENTS = 6
RIDGE = 100.0  # strength
SLOW = 0.1  # seconds, standard deviation of the average that is taken off: sways and changes of light go with it
STILL = 1e-3  # RMS change of grey, of [0, 1], below which a mouth does not move
SURE = 4.5  # confidence from which an offset is believed; foreign sound reached 2.8 in clips of 24 s, 4.3 in 5 s
FACE_BOX = (0.8, 0.6)  # width and height of the mouth's box, by the distance of the outer corners of the eyes


@dataclass(frozen=True)
class MouthSync:
    """What the pixels of a mouth say about the sound.

    `offset` is in frames, positive where the sound leads; None where it cannot be told, which `why` explains.
    `curve` is the held-out correlation at each of `shifts` (frames, ascending, signed as the offset), `r` its peak.
    `confidence` is how far the peak stands above the same clip's correlations at distances out of reach, in their
    standard deviations.
    """

    offset: float | None
    r: float
    confidence: float
    curve: Float[ndarray, " S"]
    shifts: Float[ndarray, " S"]
    why: str = ""

    @property
    def sure(self) -> bool:
        """Whether the offset is to be believed."""
        return self.offset is not None and self.confidence >= SURE


class MouthTrack:
    """The mouth of a video, frame after frame; 3 KB are kept of each."""

    def __init__(self) -> None:
        self._patches: list[Float32[ndarray, "24 32"]] = []

    def __len__(self) -> int:
        return len(self._patches)

    def add(self, frame: Float[Tensor, "H W 3"], box: Float[ndarray, " 4"]) -> None:
        """The next frame; `box` is (x0, y0, x1, y1) in pixels, NaN where no mouth is seen.

        A box that follows the lips (a capture's regions) tells of speech itself, whatever is drawn in it: in one, a
        mouth that never moved scored as well as the true one (confidence 11). Give boxes that ride on the face
        (`face_boxes`; 3 in the same pictures), the same to recording and render.

        Raises:
            UserError: the picture is not finite, or the box has no area.
        """
        if not np.isfinite(box).all():
            self._patches.append(np.full((ROWS, COLUMNS), np.nan, np.float32))
            return
        x0, y0, x1, y1 = (float(value) for value in box)
        if x1 <= x0 or y1 <= y0:
            raise UserError("mouth box", f"{[x0, y0, x1, y1]}", "x0 < x1 and y0 < y1", "give NaN where none is seen")
        grey = frame.mean(dim=-1)
        rows, columns = _cells(y0, y1, ROWS, grey.shape[0]), _cells(x0, x1, COLUMNS, grey.shape[1])
        patch = (rows.to(grey) @ grey @ columns.to(grey).T).cpu().numpy().astype(np.float32)
        if not np.isfinite(patch).all():
            raise UserError(f"frame {len(self)}", "NaN or infinity in the picture", "finite pixels", "render it again")
        self._patches.append(patch)

    def sync(
        self, samples: Float[ndarray, " N"], fps: float, shots: Sequence[tuple[int, int]] | None = None
    ) -> MouthSync:
        """Compare with the sound (16 kHz mono, from the first frame on); no sound is heard across a cut.

        `shots` are (start, stop) in the frames added and cover all of them; none given means one.

        Raises:
            UserError: sound or shots are not as long as the frames.
        """
        frames = len(self)
        shots = [(0, frames)] if shots is None else shots
        _check_lengths(samples, fps, frames, shots)
        patches = np.array(self._patches).reshape(frames, -1)
        known = np.isfinite(patches).all(axis=1)
        reach = round(REACH * fps)
        if known.sum() < LEAST * fps:
            return _untold(f"the mouth is seen for less than {LEAST:.0f} s", reach)
        motion = _components(patches, known, shots, SLOW * fps)
        if motion is None:
            return _untold("the mouth does not move", reach)
        if np.sqrt(np.square(samples.astype(np.float64)).mean()) < SILENT:
            return _untold("there is no sound", reach)
        sound, watched = cepstra(samples, fps, frames), Watched(motion, known, shot_numbers(shots), RIDGE)
        chance = watched.chance(sound, reach)
        if len(chance) < reach:
            return _untold("the clip is too short to tell chance from agreement", reach)
        # A sound heard some frames later than the picture lags: the distance is minus the offset.
        curve = watched.curve(sound, reach)[::-1]
        offset, r = peak_of(curve)
        confidence = (r - float(chance.mean())) / max(float(chance.std()), 1e-6)
        return MouthSync(round(offset, 2), r, confidence, curve, np.arange(-reach, reach + 1.0))


def face_boxes(landmarks: Float[ndarray, "T 68 3"]) -> Float[ndarray, "T 4"]:
    """Boxes around the mouth that ride on the nose's base, of one size: lips move in them, they do not with the lips.

    Landmarks in pixels, iBUG order, detected or of the tracked body; a box is NaN where they are.
    """
    points = landmarks[..., :2].astype(np.float64)
    nose, mouth = points[:, 31:36].mean(axis=1), points[:, 48:68].mean(axis=1)
    eyes = np.nanmedian(np.linalg.norm(points[:, 36] - points[:, 45], axis=-1))
    centre = nose + np.nanmedian(mouth - nose, axis=0)
    half = 0.5 * eyes * np.array(FACE_BOX)
    return np.concatenate([centre - half, centre + half], axis=-1)


def _cells(low: float, high: float, cells: int, size: int) -> Float[Tensor, "c n"]:
    """What share of each cell between two edges every pixel covers; beyond the border its last pixel goes on."""
    pixels = torch.arange(size + 1.0, dtype=torch.float64)
    pixels[0], pixels[-1] = -torch.inf, torch.inf
    edges = torch.linspace(low, high, cells + 1, dtype=torch.float64)
    shared = torch.minimum(edges[1:, None], pixels[1:]) - torch.maximum(edges[:-1, None], pixels[:-1])
    shared = shared.clamp_min(0)
    return shared / shared.sum(dim=1, keepdim=True)


def _components(
    patches: Float[ndarray, "T P"], known: Bool[ndarray, " T"], shots: Sequence[tuple[int, int]], slow: float
) -> Float[ndarray, "T K"] | None:
    """The patches' fast motion along its leading directions; None where there is none."""
    moved = np.zeros(patches.shape)
    for start, stop in shots:
        part, seen = patches[start:stop].astype(np.float64), known[start:stop]
        moved[start:stop][seen] = (part - _average(part, seen, slow))[seen]
    if np.sqrt(np.square(moved[known]).mean()) < STILL:
        return None
    _, directions = np.linalg.eigh(moved.T @ moved)
    return moved @ directions[:, : -COMPONENTS - 1 : -1]


def _average(values: Float[ndarray, "T C"], known: Bool[ndarray, " T"], deviation: float) -> Float[ndarray, "T C"]:
    """A Gaussian average in time of the rows known; the others count nothing."""
    filled = np.where(known[:, None], values, 0.0)
    weight = gaussian_filter1d(known.astype(np.float64), deviation, mode="constant")
    return gaussian_filter1d(filled, deviation, axis=0, mode="constant") / np.maximum(weight, 1e-9)[:, None]


def _check_lengths(samples: Float[ndarray, " N"], fps: float, frames: int, shots: Sequence[tuple[int, int]]) -> None:
    if [start for start, _ in shots] + [frames] != [0, *(stop for _, stop in shots)]:
        raise UserError("shots", f"{list(shots)}", f"shots that cover 0 to {frames}", "give those of the frames added")
    if abs(len(samples) / RATE - frames / fps) > 0.5:
        found, expected = f"{len(samples) / RATE:.2f} s", f"{frames / fps:.2f} s, the length of the frames"
        raise UserError("sound", found, expected, "cut the sound to the frames scored")


def _untold(why: str, reach: int) -> MouthSync:
    nothing = np.full(2 * reach + 1, np.nan)
    return MouthSync(None, float("nan"), float("nan"), nothing, np.arange(-reach, reach + 1.0), why)
