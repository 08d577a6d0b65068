"""Phonemes to lips and jaw, with co-articulation.

Each sound has a target for a few articulators and a dominance that decays away from it; what the mouth does
is the mean of all targets weighted by their dominance (Cohen and Massaro, "Modeling coarticulation in
synthetic visual speech", 1993). Sounds that cannot be made without a certain lip shape (p b m, f v, th)
dominate their neighbours, but for a short time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d

from talkingavatar.audio.speech import Phoneme

# jaw: radians; seal: share of the gap between the lips that is closed; the rest: strengths.
ARTICULATORS = ("jaw", "seal", "funnel", "pucker", "wide", "tuck", "show", "tongue")
CRITICAL = np.isin(ARTICULATORS, ["seal", "tuck", "tongue"])  # dominate where a sound asks for them
CRITICAL_DOMINANCE, CRITICAL_DECAY = 8.0, 0.015  # factor; seconds
ANTICIPATION, CARRY_OVER = 0.055, 0.070  # seconds in which dominance falls by e, before and after a sound
INERTIA = 0.012  # standard deviation of the smoothing that stands for the mass of jaw and lips, seconds
REST_GAP = 0.12  # pauses longer than this let the mouth come to rest, seconds

REST = np.array([0.012, 0.9, 0.0, 0.04, 0.0, 0.0, 0.0, 0.0])
#                jaw    seal fun  puck wide tuck show tong
_VISEMES: dict[str, tuple[tuple[float, ...], float]] = {  # sounds: targets, dominance
    "ɑ ɒ a":       ((0.200, 0.0, 0.05, 0.00, 0.15, 0.0, 0.30, 0.00), 1.2),
    "æ":           ((0.175, 0.0, 0.00, 0.00, 0.45, 0.0, 0.45, 0.00), 1.2),
    "ɛ e":         ((0.130, 0.0, 0.00, 0.00, 0.45, 0.0, 0.35, 0.00), 1.0),
    "ʌ ɐ":         ((0.130, 0.0, 0.05, 0.00, 0.10, 0.0, 0.20, 0.00), 0.9),
    "ə":           ((0.085, 0.0, 0.05, 0.00, 0.05, 0.0, 0.15, 0.00), 0.5),
    "i ɪ ᵻ j":     ((0.060, 0.0, 0.00, 0.00, 0.75, 0.0, 0.35, 0.00), 1.0),
    "ɔ o":         ((0.130, 0.0, 0.55, 0.30, 0.00, 0.0, 0.00, 0.00), 1.2),
    "u ʊ":         ((0.050, 0.0, 0.25, 0.80, 0.00, 0.0, 0.00, 0.00), 1.2),
    "w":           ((0.035, 0.0, 0.10, 0.95, 0.00, 0.0, 0.00, 0.00), 1.5),
    "ɹ ɚ ɜ ʳ":     ((0.065, 0.0, 0.20, 0.40, 0.00, 0.0, 0.10, 0.00), 0.8),
    "p b m":       ((0.030, 1.0, 0.00, 0.05, 0.00, 0.0, 0.00, 0.00), 1.5),
    "f v":         ((0.040, 0.0, 0.00, 0.00, 0.15, 1.0, 0.20, 0.00), 1.3),
    "θ ð":         ((0.065, 0.0, 0.00, 0.00, 0.15, 0.0, 0.30, 0.80), 1.0),
    "s z":         ((0.030, 0.0, 0.05, 0.00, 0.40, 0.0, 0.50, 0.00), 1.0),
    "t d n ɾ":     ((0.050, 0.0, 0.00, 0.00, 0.25, 0.0, 0.30, 0.15), 0.6),
    "l":           ((0.075, 0.0, 0.00, 0.00, 0.25, 0.0, 0.25, 0.35), 0.7),
    "ʃ ʒ":         ((0.040, 0.0, 0.60, 0.30, 0.00, 0.0, 0.35, 0.00), 1.3),
    "k ɡ ŋ h ʔ":   ((0.075, 0.0, 0.05, 0.00, 0.10, 0.0, 0.15, 0.00), 0.4),
}  # fmt: skip
VISEMES = {s: (np.array(t), d) for sounds, (t, d) in _VISEMES.items() for s in sounds.split()}
STRESS_FACTOR = (0.85, 1.0, 1.15)  # on the jaw's opening

# How far each action parts the inner lips at the middle of the mouth, millimetres; measured on the open rig.
LIP_GAP_MM = {
    "mouthFunnel": 12.3, "mouthPucker": -2.4, "mouthRollLower": -3.5, "mouthRollUpper": -1.6,
    "mouthShrugLower": -4.8, "mouthShrugUpper": 3.5, "mouthLeft": -1.5, "mouthRight": -1.5,
    "mouthSmileLeft": -1.3, "mouthSmileRight": -1.3, "mouthLowerDownLeft": 2.0, "mouthLowerDownRight": 2.0,
    "mouthUpperUpLeft": 2.5, "mouthUpperUpRight": 2.5, "mouthPressLeft": -1.1, "mouthPressRight": -1.1,
}  # fmt: skip
JAW_GAP_MM = 80.0  # per radian of the jaw joint
CLOSE_MM = 33.0  # what mouthClose = 1 takes back


def articulation(
    phonemes: Sequence[Phoneme], times: Float[ndarray, " T"], loudness: Float[ndarray, " T"]
) -> dict[str, Float[ndarray, " T"]]:
    """Articulators over time: dominance-weighted targets, the jaw and the lips' shape scaled by loudness.

    Args:
        phonemes: in order.
        times: seconds, evenly spaced and at least 50 per second.
        loudness: 0 silent to 1 loud (see `performance.loudness_of`).
    """
    weight = np.full((len(times), len(ARTICULATORS)), 1e-3)
    total = weight * REST
    for start, end, target, dominance in _segments(phonemes, times[0], times[-1]):
        inside = slice(*np.searchsorted(times, [start - 0.5, end + 0.5]))
        core = 0.2 * (end - start)  # dominance is full in the middle of a sound
        before = np.maximum(start + core - times[inside], 0)[:, None]
        after = np.maximum(times[inside] - end + core, 0)[:, None]
        critical = CRITICAL & (target > 0) & (target is not REST)
        strength = dominance * np.exp(-before / ANTICIPATION - after / CARRY_OVER)
        sharp = dominance * CRITICAL_DOMINANCE * np.exp(-(before + after) / CRITICAL_DECAY)
        strength = np.where(critical, sharp, strength)
        weight[inside] += strength
        total[inside] += strength * target
    mouth = gaussian_filter1d(total / weight, INERTIA / (times[1] - times[0]), axis=0, mode="nearest")
    channels = dict(zip(ARTICULATORS, mouth.T, strict=True))
    for name in ("jaw", "funnel", "wide", "show"):
        channels[name] = channels[name] * (0.75 + 0.35 * loudness)
    return channels


def _segments(
    phonemes: Sequence[Phoneme], start: float, end: float
) -> list[tuple[float, float, Float[ndarray, " A"], float]]:
    """(start, end, targets, dominance) of every part of every sound, and of the rests between."""
    segments = []
    clock = start
    for phoneme in phonemes:
        if phoneme.start - clock > REST_GAP:
            segments.append((clock + 0.06, phoneme.start - 0.04, REST, 1.0))
        parts = [c for c in phoneme.symbol if c in VISEMES]  # a diphthong glides from part to part
        edges = np.linspace(phoneme.start, phoneme.end, len(parts) + 1)
        for part, a, b in zip(parts, edges[:-1], edges[1:], strict=True):
            target, dominance = VISEMES[part]
            target = target.copy()
            target[0] *= STRESS_FACTOR[phoneme.stress]
            segments.append((float(a), float(b), target, dominance))
        clock = phoneme.end
    if end - clock > REST_GAP:
        segments.append((clock + 0.06, end + 1.0, REST, 1.0))
    return segments


def lip_actions(mouth: Mapping[str, Float[ndarray, " T"]], amplitude: float) -> dict[str, Float[ndarray, " T"]]:
    """Facial actions of the articulators, without mouthClose (see `seal_lips`)."""
    both = {
        "mouthStretch": 0.30 * mouth["wide"],
        "mouthSmile": 0.22 * mouth["wide"],
        "mouthUpperUp": 0.40 * mouth["show"] + 0.15 * mouth["tuck"],
        "mouthLowerDown": 0.50 * mouth["show"],
        "mouthPress": 0.30 * np.clip(2 * mouth["seal"] - 1, 0, 1),
    }
    actions = {f"{name}{side}": amplitude * value for name, value in both.items() for side in ("Left", "Right")}
    return actions | {
        "mouthFunnel": amplitude * mouth["funnel"],
        "mouthPucker": amplitude * mouth["pucker"],
        "mouthRollLower": 0.85 * mouth["tuck"],
        "tongueOut": 0.45 * mouth["tongue"],
    }


def lip_gap(jaw: Float[ndarray, " T"], actions: Mapping[str, Float[ndarray, " T"]]) -> Float[ndarray, " T"]:
    """Gap between the inner lips at the middle of the mouth, millimetres; below 0 they are pressed."""
    gap = JAW_GAP_MM * jaw - CLOSE_MM * actions.get("mouthClose", np.zeros_like(jaw))
    return gap + sum(mm * actions[name] for name, mm in LIP_GAP_MM.items() if name in actions)


def seal_lips(
    jaw: Float[ndarray, " T"], actions: Mapping[str, Float[ndarray, " T"]], seal: Float[ndarray, " T"]
) -> Float[ndarray, " T"]:
    """mouthClose that takes back the share `seal` of the gap the other actions leave."""
    gap = lip_gap(jaw, {name: value for name, value in actions.items() if name != "mouthClose"})
    return np.clip(seal * (gap + 0.5) / CLOSE_MM, 0.0, 1.0)
