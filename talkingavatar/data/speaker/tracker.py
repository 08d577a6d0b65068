"""What a monocular body and face tracker would have said about a performance that is known exactly.

Its faults, each scaled by `quality` (0 is a perfect tracker, 1 an ordinary one):

- noise that is correlated over about a tenth of a second and has zero mean, small on the body, large on the
  hands;
- a causal smoother's lag of half a frame, which shows in fast motion only;
- lip detail is missing: the actions that shape the lips are mostly lost and slow, the jaw opens to about
  60 %;
- a quarter of the blinks is nearly missed, the others are weakened;
- the shape coefficients are a little off, the same way in every frame.

Hands have noise but no bias. Nothing is clipped to [0, 1] afterwards, since that would turn noise into bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d, label
from scipy.signal import lfilter

MEMORY = 0.10  # of the noise, seconds
LAG = 0.5  # frames
BETAS, TRANSL = 0.03, (0.0004, 0.0004, 0.0010)  # shape units; metres, depth is the hardest
# Degrees, and the strength of an action. A body aligned to 2D landmarks is off by about a pixel in the picture, its
# fingers by several: about what is left after the alignment stage of THGS (its table 7).
BODY, NECK_HEAD, JAW, EYES, WRISTS, EXPRESSION = 0.08, 0.15, 0.5, 1.0, 1.2, 0.03
FINGERS = (1.0, 1.5, 3.0)  # degrees about the finger's length, its side axis and the axis it curls about

JAW_KEPT = (0.60, 0.05)  # share that is left; standard deviation of the smoothing, seconds
LIPS_KEPT, MOUTH_KEPT = (
    (0.25, 0.15),
    (0.75, 0.08),
)  # the same for what shapes the lips, and for smiles and the like
LIP_SHAPES = ("mouthFunnel", "mouthPucker", "mouthClose", "mouthPress", "mouthRoll", "mouthShrug",
              "mouthUpperUp", "mouthLowerDown", "tongueOut")  # fmt: skip
BLINK_KEPT, BLINKS_MISSED, MISSED_KEPT = (
    0.85,
    0.25,
    0.25,
)  # strength left; share missed; strength left of those


@dataclass(frozen=True)
class Tracked:
    """SMPL-X parameters as tracked; shapes as the true ones."""

    betas: Float32[ndarray, " S"]
    full_pose: Float32[ndarray, "T 55 3"]  # axis-angle, radians
    transl: Float32[ndarray, "T 3"]  # metres
    expression: Float32[ndarray, "T E"]


def track(
    betas: Float[ndarray, " S"],
    full_pose: Float[ndarray, "T 55 3"],
    transl: Float[ndarray, "T 3"],
    expression: Float[ndarray, "T E"],
    names: Sequence[str],
    *,
    fps: float | int,
    seed: int,
    quality: float | int = 1.0,
    framing: float = 1.0,
) -> Tracked:
    """The faults above laid on true parameters; the same arguments give the same bytes.

    Args:
        names: of the expression's columns; ARKit's names are known, others get noise only.
        quality: scale of all faults.
        framing: metres that the picture shows, by those of head to hips: a body is found to a pixel, so a portrait's
            shoulders to fewer millimetres.
    """
    rngs = np.random.default_rng([seed, 7]).spawn(4)  # not the generator of the performance with the same seed
    pose = full_pose.astype(np.float64)
    face = expression.astype(np.float64)
    pose[:, 22] = _dull(pose[:, 22], JAW_KEPT, fps, quality)
    for column, name in enumerate(names):
        if name == "jawOpen":
            face[:, column] = _dull(face[:, column], JAW_KEPT, fps, quality)
        elif name.startswith(LIP_SHAPES):
            face[:, column] = _dull(face[:, column], LIPS_KEPT, fps, quality)
        elif name.startswith("mouth"):
            face[:, column] = _dull(face[:, column], MOUTH_KEPT, fps, quality)
    face = _miss_blinks(face, names, rngs[0], quality)
    pose = _lag(pose, quality) + quality * _noise(rngs[1], pose.shape, fps) * np.deg2rad(_joint_noise(framing))
    face = _lag(face, quality) + quality * _noise(rngs[2], face.shape, fps) * EXPRESSION
    moved = _lag(transl.astype(np.float64), quality) + quality * framing * _noise(rngs[3], transl.shape, fps) * TRANSL
    shape = betas + quality * BETAS * rngs[0].standard_normal(betas.shape)
    return Tracked(*(a.astype(np.float32) for a in (shape, pose, moved, face)))


def noisy_landmarks(
    points: Float[ndarray, "T L 2"], *, fps: float | int, seed: int, quality: float | int = 1.0
) -> Float32[ndarray, "T L 3"]:
    """Detected 2D landmarks: x, y in pixels and a confidence in (0, 1].

    The error is about 0.6 % of the face's height, correlated over time, and grows and shrinks; the confidence
    falls where it is large. Of 68 points the first 17 (the outline) are twice as far off.
    """
    rngs = np.random.default_rng([seed, 8]).spawn(2)
    frames, count, _ = points.shape
    height = np.ptp(points[..., 1], axis=1)[:, None]
    spread = np.exp(0.5 * _noise(rngs[0], (frames, count), fps))
    if count == 68:
        spread[:, :17] *= 2.0
    error = 0.006 * height[..., None] * spread[..., None] * _noise(rngs[1], points.shape, fps)
    confidence = 1 / (1 + 0.15 * quality * spread)
    return np.concatenate([points + quality * error, confidence[..., None]], -1).astype(np.float32)


def _joint_noise(framing: float) -> Float[ndarray, "55 3"]:
    """Standard deviation per joint and axis, degrees."""
    noise = np.full((55, 3), BODY * framing)
    noise[[12, 15]], noise[22], noise[[23, 24]], noise[[20, 21]] = NECK_HEAD, JAW, EYES, WRISTS
    noise[25:] = FINGERS
    return noise


def _noise(rng: np.random.Generator, shape: tuple[int, ...], fps: float | int) -> Float[ndarray, "T *rest"]:
    """Noise of unit variance, smoothed along the first axis."""
    sigma = MEMORY / 2 * fps
    pad = int(np.ceil(4 * sigma))
    white = rng.standard_normal((shape[0] + 2 * pad, *shape[1:]))
    impulse = np.zeros(2 * pad + 1)
    impulse[pad] = 1
    gain = np.linalg.norm(gaussian_filter1d(impulse, sigma))
    return gaussian_filter1d(white, sigma, axis=0)[pad : pad + shape[0]] / gain


def _lag(values: Float[ndarray, "T *rest"], quality: float | int) -> Float[ndarray, "T *rest"]:
    """A causal first-order smoother whose mean delay is `LAG` frames."""
    keep = 1 / (1 + LAG * quality)
    start = (1 - keep) * values[:1]
    return lfilter([keep], [1, keep - 1], values, axis=0, zi=start)[0]


def _dull(
    values: Float[ndarray, "T *rest"], kept: tuple[float, float], fps: float | int, quality: float | int
) -> Float[ndarray, "T *rest"]:
    share, seconds = kept
    share = max(1 - (1 - share) * quality, 0.0)
    sigma = seconds * fps * quality
    return share * (gaussian_filter1d(values, sigma, axis=0, mode="nearest") if sigma > 0 else values)


def _miss_blinks(
    face: Float[ndarray, "T E"], names: Sequence[str], rng: np.random.Generator, quality: float | int
) -> Float[ndarray, "T E"]:
    """Every blink of both lids weakened above the lids' rest, some almost to nothing."""
    lids = [i for i, name in enumerate(names) if name.startswith("eyeBlink")]
    if not lids:
        return face
    rest = np.median(face[:, lids], axis=0)
    events, count = label((face[:, lids] - rest).max(1) > 0.02)
    kept = np.where(rng.random(count) < BLINKS_MISSED, MISSED_KEPT, BLINK_KEPT)
    factor = np.concatenate([[1.0], 1 - np.clip(quality, 0, 1) * (1 - kept)])[events]
    face[:, lids] = rest + factor[:, None] * (face[:, lids] - rest)
    return face
