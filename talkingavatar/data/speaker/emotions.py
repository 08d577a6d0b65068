"""What emotions do to a speaking face and head, over time.

Each is its EMFACS prototype (methods.md D.7.2) in a person's own way: gains drawn once, one side stronger, brows, eyes
and mouth setting in one after the other; and never twice the same: every phrase has gains of its own, all is in slow
motion. Lips that speak are shaped by what is felt, not added to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.config.emotions import EMOTIONS
from talkingavatar.data.speaker.curves import pulse, smooth_noise
from talkingavatar.data.speaker.script import Felt

# Facial actions at full strength (above 1: held there by most); sides are named where they differ: `Strong`, `Weak`.
PROTOTYPES: dict[str, dict[str, float]] = {
    "happy": {"mouthSmile": 0.95, "cheekSquint": 0.90, "eyeSquint": 0.45, "mouthDimple": 0.15, "mouthUpperUp": 0.35},
    "sad": {"browInnerUp": 1.0, "browDown": 0.30, "mouthFrown": 0.90, "mouthShrugLower": 0.45, "eyeBlink": 0.20},
    "angry": {"browDown": 1.0, "eyeWide": 0.35, "eyeSquint": 0.55, "mouthPress": 0.60, "noseSneer": 0.35,
              "mouthFrown": 0.15},
    "surprised": {"browInnerUp": 0.95, "browOuterUp": 0.95, "eyeWide": 0.90},
    "disgusted": {"noseSneer": 1.2, "mouthUpperUp": 0.95, "browDown": 0.55, "eyeSquint": 0.70, "mouthFrown": 0.50,
                  "mouthShrugLower": 0.25, "cheekSquint": 0.45, "mouthLowerDown": 0.25},
    "afraid": {"browInnerUp": 1.0, "browOuterUp": 0.40, "browDown": 0.45, "eyeWide": 0.95, "eyeSquint": 0.15,
               "mouthStretch": 0.85, "mouthLowerDown": 0.30},
    "contempt": {"mouthSmileStrong": 0.60, "mouthDimpleStrong": 0.90, "mouthUpperUpStrong": 0.35,
                 "mouthDimpleWeak": 0.10, "browOuterUpStrong": 0.30, "eyeBlink": 0.22, "mouthPress": 0.15},
}  # fmt: skip
# By how much an articulator (`visemes.ARTICULATORS`) does more or less.
ARTICULATION: dict[str, dict[str, float]] = {
    "happy": {"funnel": -0.45, "pucker": -0.50, "wide": 0.20},
    "sad": {"jaw": -0.35, "wide": -0.40, "show": -0.30},
    "angry": {"jaw": 0.10, "show": 0.60, "pucker": -0.15},
    "surprised": {"jaw": 0.25, "wide": -0.20},
    "disgusted": {"jaw": -0.15, "pucker": -0.20},
    "afraid": {"funnel": -0.35, "pucker": -0.35},
    "contempt": {"jaw": -0.20},
}
JAW = {"surprised": 0.12, "afraid": 0.05, "happy": 0.015}  # radians it hangs, where lips are not closed
HEAD = {  # of the head against the trunk, radians: pitch (down), yaw (to its left), roll
    "sad": (0.17, 0.0, -0.05), "angry": (0.09, 0.0, 0.0), "surprised": (-0.09, 0.0, 0.0), "happy": (-0.03, 0.0, 0.03),
    "afraid": (-0.06, -0.05, 0.0), "disgusted": (-0.05, 0.14, 0.03), "contempt": (-0.14, 0.05, 0.07),
}  # fmt: skip
PARTING = ("mouthUpperUp", "mouthLowerDown")  # actions that lips about to close give up
GIVEN_UP = 0.55  # share of them
ONSET, LEAD = 0.4, 0.3  # seconds of attack and of decay; by which the face is ahead of the sound
PERSONAL, PHRASE, MICRO = (0.75, 1.15), (0.8, 1.15), 0.1  # gains of a person, of a phrase; share that wanders
WANDERS = 0.7  # memory of that, seconds
WEAKER = 0.94  # of the other side
LAGS = {"brow": (-0.12, 0.06), "eye": (-0.10, 0.08), "mouth": (-0.04, 0.12)}  # seconds, between which a person's lies


@dataclass(frozen=True)
class Feelings:
    """What one person feels at each of `times`.

    Args:
        felt: one after the other.
        times: seconds, `curves.RATE` a second.
        person: number of the person, whose own way it is.
        crooked: +1: more on the person's left, -1: on the right.
        seed: of phrases' gains and slow motion.
        strength: of the person's feelings in the face.
    """

    felt: Sequence[Felt]
    times: Float[ndarray, " T"]
    person: int
    crooked: float
    seed: int
    strength: float = 1.0

    @cached_property
    def intensities(self) -> Float[ndarray, "T 8"]:
        """Share of each of `EMOTIONS`, in sum 1: neutral has the rest."""
        shares = np.stack([self._curves(emotion).sum(1) for emotion in EMOTIONS], 1).clip(0, 1)
        shares[:, 0] = np.clip(1 - shares[:, 1:].sum(1), 0, 1)
        return shares

    @cached_property
    def labels(self) -> Float[ndarray, "T 8"]:
        """The same as a labelled recording says it: each phrase's strength from its start to its end, in sum 1."""
        rows = np.searchsorted([felt.start for felt in self.felt], self.times, side="right").clip(1) - 1
        table = np.zeros((len(self.felt), len(EMOTIONS)))
        for row, felt in zip(table, self.felt, strict=True):
            row[EMOTIONS.index(felt.emotion)] = felt.strength
            row[0] = 1 - row[1:].sum()
        return table[rows]

    def actions(self, seal: Float[ndarray, " T"]) -> dict[str, Float[ndarray, " T"]]:
        """Facial actions; `seal` is how far the lips are closed by what is said."""
        own, now = np.random.default_rng([self.person, 10]), np.random.default_rng([self.seed, 10])
        lags = {region: own.uniform(*span) for region, span in LAGS.items()}
        total: dict[str, Float[ndarray, " T"]] = {}
        for emotion, prototype in PROTOTYPES.items():
            of = [felt for felt in self.felt if felt.emotion == emotion]
            for action, value in prototype.items():
                lag = next((lag for region, lag in lags.items() if action.startswith(region)), 0.0)
                gains, wander = now.uniform(*PHRASE, len(of)), smooth_noise(now, len(self.times), WANDERS)
                curve = self._curves(emotion, lag) @ gains * own.uniform(*PERSONAL) * (1 + MICRO * wander)
                for name, share in self._sides(action).items():
                    total[name] = total.get(name, 0.0) + self.strength * share * value * curve
        for name in total:
            if name.startswith(PARTING):
                total[name] = total[name] * (1 - GIVEN_UP * seal)
        return total

    def articulated(self, mouth: Mapping[str, Float[ndarray, " T"]]) -> dict[str, Float[ndarray, " T"]]:
        """What the mouth says, said with what is felt; its seal is as it was."""
        factors = {name: np.ones(len(self.times)) for name in mouth}
        hang = np.zeros(len(self.times))
        for emotion, effects in ARTICULATION.items():
            felt = self.strength * self.intensities[:, EMOTIONS.index(emotion)]
            hang += JAW.get(emotion, 0.0) * felt
            for name, effect in effects.items():
                factors[name] += effect * felt
        shaped = {name: factors[name] * values for name, values in mouth.items()}
        return shaped | {"jaw": shaped["jaw"] + hang * (1 - mouth["seal"])}

    def head(self) -> Float[ndarray, "T 3"]:
        """How it is held: pitch, yaw, roll, radians."""
        held = np.array([HEAD.get(emotion, (0.0, 0.0, 0.0)) for emotion in EMOTIONS])
        return self.strength * self.intensities @ held * [1.0, self.crooked, self.crooked]

    def _curves(self, emotion: str, lag: float = 0.0) -> Float[ndarray, "T F"]:
        """Strength of each phrase of an emotion: attack, hold, decay into the next one's attack."""
        curves = [
            felt.strength
            * pulse(self.times, felt.start - LEAD + lag, ONSET, max(felt.end - felt.start - ONSET, 0), ONSET)
            for felt in self.felt
            if felt.emotion == emotion
        ]
        return np.stack(curves, 1) if curves else np.zeros((len(self.times), 0))

    def _sides(self, action: str) -> dict[str, float]:
        """Both sides of an action and the share of each, or the action itself where it has none."""
        strong, weak = ("Left", "Right") if self.crooked > 0 else ("Right", "Left")
        if action.endswith("Strong"):
            return {action.removesuffix("Strong") + strong: 1.0}
        if action.endswith("Weak"):
            return {action.removesuffix("Weak") + weak: 1.0}
        if action in ("browInnerUp", "mouthShrugLower"):
            return {action: 1.0}
        return {action + strong: 1.0, action + weak: WEAKER}
