"""How the synthetic speaker moves: SMPL-X parameters and facial actions from speech.

Everything is drawn at `RATE` steps a second from one seed, then read off at the frames' times (frame i is at
i / fps), so that the same seed gives the same motion at any frame rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from talkingavatar.audio.speech import Speech
from talkingavatar.data.speaker import gestures, visemes
from talkingavatar.data.speaker.curves import RATE, pulse, smooth_noise
from talkingavatar.data.speaker.emotions import Feelings

PELVIS, SPINE, NECK, HEAD, COLLARS, JAW, EYES = 0, (3, 6, 9), 12, 15, (13, 14), 22, (23, 24)  # SMPL-X joints

# What a feeling does to the face at full strength; the smile and the puzzled look are one-sided.
FEELINGS: dict[str, dict[str, float]] = {
    "neutral": {},
    "smile": {
        "mouthSmileLeft": 0.75, "mouthSmileRight": 0.35, "mouthDimpleLeft": 0.35, "mouthDimpleRight": 0.1,
        "cheekSquintLeft": 0.6, "cheekSquintRight": 0.35, "eyeSquintLeft": 0.4, "eyeSquintRight": 0.25,
    },
    "surprise": {
        "browInnerUp": 0.85, "browOuterUpLeft": 0.8, "browOuterUpRight": 0.7, "eyeWideLeft": 0.6,
        "eyeWideRight": 0.6, "mouthFunnel": 0.08,
    },
    "frown": {
        "browDownLeft": 0.75, "browDownRight": 0.8, "mouthFrownLeft": 0.55, "mouthFrownRight": 0.5,
        "eyeSquintLeft": 0.3, "eyeSquintRight": 0.3, "noseSneerLeft": 0.2, "noseSneerRight": 0.25,
        "mouthShrugLower": 0.15,
    },
    "puzzled": {
        "browDownRight": 0.65, "browOuterUpLeft": 0.75, "browInnerUp": 0.25, "mouthLeft": 0.3,
        "eyeSquintRight": 0.4, "mouthDimpleRight": 0.25, "mouthPucker": 0.1,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """How one person moves; 1 is ordinary, angles in radians."""

    mouth: float = 1.0  # jaw and lips
    feeling: float = 1.0  # strength of feelings in the face
    head: float = 1.0  # nods and sway
    gesture: float = 1.0  # size of strokes
    beat_interval: float = 1.0  # shortest time between two strokes, seconds
    blinks: float = 20.0  # per minute
    lean: float = 0.0  # of the spine, forwards
    tilt: float = 0.0  # of the head, towards its left shoulder
    turn: float = 0.0  # of the body, towards its left


STYLES = {
    "lively": Style(mouth=1.05, head=1.2, gesture=1.15, beat_interval=0.8, tilt=0.03, turn=-0.05),
    "composed": Style(mouth=0.95, feeling=0.85, head=0.8, gesture=0.85, beat_interval=1.3, blinks=15.0, lean=0.03),
    "dry": Style(feeling=0.95, gesture=0.95, blinks=25.0, tilt=-0.04, turn=0.06, lean=-0.02),
}


@dataclass(frozen=True)
class Performance:
    """T frames of a standing speaker seen from the front, arms bent, hands in view."""

    full_pose: Float32[ndarray, "T 55 3"]  # axis-angle, SMPL-X's joint order
    transl: Float32[ndarray, "T 3"]  # metres
    expression: dict[str, Float32[ndarray, " T"]]  # facial actions (ARKit's names) in [0, 1]; absent ones are 0

    def expression_matrix(self, names: tuple[str, ...] | list[str]) -> Float32[ndarray, "T E"]:
        """The actions as columns in the order of `names`; 0 where the performance has none of that name."""
        absent = np.zeros(len(self.transl), np.float32)
        return np.stack([self.expression.get(name, absent) for name in names], 1)


def perform(
    speech: Speech,
    frames: int,
    fps: float | int,
    seed: int,
    style: Style | None = None,
    feelings: Callable[[Float[ndarray, " T"]], Feelings] | None = None,
) -> Performance:
    """The speaker saying `speech`; the same arguments give the same bytes.

    Args:
        frames: how many; beyond the end of the speech the speaker stays silent.
        fps: frames per second.
        seed: of all that chance decides (gestures, gaze, blinks, sway, feelings).
        style: the person's; one of `STYLES` for example.
        feelings: what is felt at given times; None: each of `FEELINGS` in turn, whatever is said.
    """
    style = style or Style()
    times = np.arange(int(np.ceil(frames / fps * RATE)) + RATE) / RATE
    felt = None if feelings is None else feelings(times)
    # One generator per part, so that a change in one leaves the others as they are.
    rng = dict(zip(("face", "head", "hands", "gaze"), np.random.default_rng(seed).spawn(4), strict=True))
    loudness = loudness_of(speech, times)
    stresses = stressed_words(speech, loudness, times)
    pose = np.zeros((len(times), 55, 3))
    held = np.zeros((len(times), 3)) if felt is None else felt.head()
    head = _move_trunk(pose, times, stresses, style, rng["head"], held)
    beats = thin(stresses, style.beat_interval)
    gestures.pose_arms(pose, _arms(beats, times, style, rng["hands"]))
    _move_eyes(pose, head, times, rng["gaze"])
    actions = _face(pose, speech, times, loudness, stresses, style, rng["face"], felt)
    transl = 0.006 * np.stack([smooth_noise(rng["head"], len(times), 2.5) for _ in range(3)], 1)
    at = np.arange(frames) / fps
    return Performance(
        full_pose=_at(at, times, pose.reshape(len(times), -1)).reshape(frames, 55, 3),
        transl=_at(at, times, transl),
        expression={name: _at(at, times, value[:, None])[:, 0] for name, value in sorted(actions.items())},
    )


def loudness_of(speech: Speech, times: Float[ndarray, " T"]) -> Float[ndarray, " T"]:
    """RMS over about a tenth of a second, relative to the loud parts of the speech; clipped to [0, 1.2]."""
    hop = speech.rate // RATE
    steps = len(speech.samples) // hop
    power = np.square(speech.samples[: steps * hop].astype(np.float64)).reshape(steps, hop).mean(1)
    rms = np.sqrt(gaussian_filter1d(power, 0.04 * RATE))
    rms = np.interp(times, (np.arange(steps) + 0.5) / RATE, rms, right=0.0)
    return np.clip(rms / max(np.quantile(rms, 0.9), 1e-4), 0.0, 1.2)


def stressed_words(
    speech: Speech, loudness: Float[ndarray, " T"], times: Float[ndarray, " T"]
) -> list[tuple[float, float]]:
    """(seconds, strength in [0, 1]) of the primary stresses, stronger where long and loud."""
    stressed = [p for p in speech.phonemes if p.stress == 2 and p.end < times[-1]]
    if not stressed:
        return []
    middle = np.array([(p.start + p.end) / 2 for p in stressed])
    weight = np.array([p.end - p.start for p in stressed]) * np.interp(middle, times, loudness)
    rank = weight.argsort().argsort() / max(len(weight) - 1, 1)
    return list(zip(middle.tolist(), rank.tolist(), strict=True))


def thin(stresses: list[tuple[float, float]], interval: float) -> list[tuple[float, float]]:
    """The strongest stresses that are at least `interval` seconds apart, in order of time."""
    kept: list[tuple[float, float]] = []
    for time, strength in sorted(stresses, key=lambda s: -s[1]):
        if all(abs(time - other) >= interval for other, _ in kept):
            kept.append((time, strength))
    return sorted(kept)


def _at(at: Float[ndarray, " F"], times: Float[ndarray, " T"], rows: Float[ndarray, "T D"]) -> Float32[ndarray, "F D"]:
    return np.stack([np.interp(at, times, column) for column in rows.T], 1).astype(np.float32)


def _move_trunk(
    pose: Float[ndarray, "T 55 3"],
    times: Float[ndarray, " T"],
    stresses: list[tuple[float, float]],
    style: Style,
    rng: np.random.Generator,
    held: Float[ndarray, "T 3"],
) -> Float[ndarray, "T 3"]:
    """Sway, breathing and nods about how the head is `held`; returns its turn against the trunk (pitch, yaw, roll)."""
    steps = len(times)
    sway = np.stack([smooth_noise(rng, steps, s) for s in (1.6, 1.8, 1.5)], 1) * [0.030, 0.060, 0.030]
    drift = np.stack([smooth_noise(rng, steps, s) for s in (3.0, 3.5, 3.0)], 1) * [0.012, 0.030, 0.012]
    breath = np.sin(2 * np.pi * (0.25 * times + rng.random()) + 0.4 * smooth_noise(rng, steps, 4.0))
    nods = np.zeros(steps)
    for time, strength in thin(stresses, 0.5):
        if rng.random() < 0.7:
            size = (0.025 + 0.06 * strength) * rng.uniform(0.6, 1.2)
            nods += size * pulse(times, time - 0.16, 0.16, 0.02, 0.32)
    head = style.head * sway + [0, 0, -style.tilt] + held
    head[:, 0] += style.head * nods
    pose[:, NECK], pose[:, HEAD] = 0.4 * head, 0.6 * head
    pose[:, PELVIS, 1] = style.turn + 0.3 * drift[:, 1]
    for joint in SPINE:
        pose[:, joint] = drift / 3 + [style.lean / 3, 0, 0]
    pose[:, SPINE[2], 0] -= 0.008 * breath
    for joint, sign in zip(COLLARS, (1, -1), strict=True):
        pose[:, joint, 2] = sign * (0.012 * breath - 0.03)
    return head


def _arms(
    beats: list[tuple[float, float]], times: Float[ndarray, " T"], style: Style, rng: np.random.Generator
) -> Float[ndarray, "T 2 13"]:
    arms = gestures.beat_gestures(beats, times, rng, style.gesture)
    tremor = np.deg2rad([0.5, 0.7, 0.7, 1, 1.5, 1.5, 1, 3, 3, 3, 3, 2, 0.5])
    noise = [smooth_noise(rng, len(times), 0.9) for _ in range(2 * len(gestures.ARM))]
    return arms + tremor * np.stack(noise, 1).reshape(len(times), 2, -1)


def _move_eyes(
    pose: Float[ndarray, "T 55 3"],
    head: Float[ndarray, "T 3"],
    times: Float[ndarray, " T"],
    rng: np.random.Generator,
) -> None:
    """Fixations near the camera, with looks aside; the eyes keep their aim while the head moves."""
    gaze = np.zeros((len(times), 2))  # pitch, yaw
    clock, now = 0.0, np.zeros(2)
    while clock < times[-1]:
        clock += rng.gamma(2.0, 0.6) + 0.25
        aside = rng.random() < 0.25
        target = rng.normal(0, 1, 2) * ([0.08, 0.16] if aside else [0.02, 0.03])
        blend = np.clip((times - clock) / 0.05, 0, 1)[:, None]
        gaze += blend * (target - now)
        now = target
    eyes = np.clip(gaze - 0.85 * head[:, :2], -0.35, 0.35)
    rotation = Rotation.from_euler("YX", eyes[:, ::-1]).as_rotvec()
    for joint in EYES:
        pose[:, joint] = rotation


def _face(
    pose: Float[ndarray, "T 55 3"],
    speech: Speech,
    times: Float[ndarray, " T"],
    loudness: Float[ndarray, " T"],
    stresses: list[tuple[float, float]],
    style: Style,
    rng: np.random.Generator,
    felt: Feelings | None,
) -> dict[str, Float[ndarray, " T"]]:
    """Facial actions; the jaw goes into `pose`."""
    mouth = visemes.articulation(speech.phonemes, times, loudness)
    if felt is not None:
        mouth = felt.articulated(mouth)
    jaw = np.clip(style.mouth * mouth["jaw"], 0.0, 0.28)
    pose[:, JAW, 0] = jaw
    pose[:, JAW, 1] = 0.006 * smooth_noise(rng, len(times), 0.8) * np.clip(jaw / 0.1, 0, 1)
    parts = [
        visemes.lip_actions(mouth, style.mouth),
        _feelings(times, style, rng) if felt is None else felt.actions(mouth["seal"]),
        _blinks(speech, times, style, rng),
        _brows(times, stresses, style, rng),
    ]
    actions: dict[str, Float[ndarray, " T"]] = {}
    for part in parts:
        for name, value in part.items():
            actions[name] = actions.get(name, 0.0) + value
    for side in ("Left", "Right"):  # a blink closes the lid from wherever it was
        wide = actions.get(f"eyeWide{side}", np.zeros(len(times)))
        actions[f"eyeWide{side}"] = wide * (1 - actions[f"eyeBlink{side}"])
    actions = {name: np.clip(value, 0.0, 1.0) for name, value in actions.items()}
    actions["mouthClose"] = visemes.seal_lips(jaw, actions, mouth["seal"])
    return actions


def _feelings(times: Float[ndarray, " T"], style: Style, rng: np.random.Generator) -> dict[str, Float[ndarray, " T"]]:
    """Every feeling once, in an order of chance, then again.

    A round takes a sixth of the performance, so that each is seen in training and in a held-out fifth.
    """
    names = list(FEELINGS)
    length = float(np.clip((times[-1] - 1) / (6 * len(names)), 0.8, 2.5))
    actions = {name: np.zeros(len(times)) for feeling in FEELINGS.values() for name in feeling}
    clock = 0.0
    while clock < times[-1]:
        for name in rng.permutation(names):
            strength = style.feeling * rng.uniform(0.75, 1.1)
            envelope = strength * pulse(times, clock, 0.35, length - 0.35, 0.45)
            for action, value in FEELINGS[name].items():
                actions[action] += value * envelope
            clock += length
    return actions


def _blinks(
    speech: Speech, times: Float[ndarray, " T"], style: Style, rng: np.random.Generator
) -> dict[str, Float[ndarray, " T"]]:
    """A Poisson process, and blinks at the ends of phrases; the right lid follows late and not as far."""
    ends = [w.end for w in speech.words if w.text[-1] in ",.;:!?" and rng.random() < 0.35]
    chance = np.cumsum(rng.exponential(60 / style.blinks, int(times[-1] * style.blinks / 20) + 10))
    lids = {"eyeBlinkLeft": np.zeros(len(times)), "eyeBlinkRight": np.zeros(len(times))}
    last = -1.0
    for start in sorted([*ends, *chance.tolist()]):
        if start - last < 0.5:
            continue
        last = start
        depth, slow = rng.uniform(0.9, 1.0), rng.uniform(0.9, 1.3)
        lids["eyeBlinkLeft"] += depth * pulse(times, start, 0.08 * slow, 0.03, 0.15 * slow)
        lids["eyeBlinkRight"] += 0.97 * depth * pulse(times, start + 0.01, 0.08 * slow, 0.03, 0.15 * slow)
    return lids


def _brows(
    times: Float[ndarray, " T"], stresses: list[tuple[float, float]], style: Style, rng: np.random.Generator
) -> dict[str, Float[ndarray, " T"]]:
    """Brows flash up with some of the strongest stresses."""
    lift = np.zeros(len(times))
    for time, strength in thin(stresses, 0.9):
        if rng.random() < 0.6 * strength:
            lift += rng.uniform(0.2, 0.5) * pulse(times, time - 0.15, 0.15, 0.1, 0.35)
    lift *= style.feeling
    return {"browInnerUp": lift, "browOuterUpLeft": 0.8 * lift, "browOuterUpRight": 0.7 * lift}
