"""Who the synthetic speakers are, as data: body, face, skin, hair and clothes of the named ones and of strangers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

Colour = tuple[float, float, float]  # display values, 0 to 1


@dataclass(frozen=True)
class Skin:
    tone: Colour
    lips: Colour
    blush: float  # how much redder cheeks, nose, ears and knuckles are
    freckles: float = 0.0
    stubble: float = 0.0  # shadow of shaved hair on jaw and lip
    age: float = 0.0  # standing lines and uneven tone
    brow: Colour = (0.2, 0.14, 0.1)
    brow_weight: float = 1.0
    make_up: float = 0.0  # darker lash line, tinted lids


@dataclass(frozen=True)
class Hair:
    style: str  # "bob", "short", "long" or "none"
    colour: Colour
    light: Colour  # strands that caught the sun
    beard: float = 0.0  # length, metres


@dataclass(frozen=True)
class Clothes:
    pattern: str  # "stripes", "shirt", "cable", "pinstripe"
    main: Colour
    second: Colour
    third: Colour
    neckline: float  # metres below the pit of the neck
    trousers: Colour
    loose: float = 0.010  # metres off the skin
    hang: float = 0.4  # 0 follows the waist, 1 falls straight from the chest


@dataclass(frozen=True)
class Identity:
    """One person. `betas` are in the open rig's shape basis; `sculpt` moves what that basis does not hold."""

    name: str
    betas: tuple[float, ...]
    skin: Skin
    hair: Hair
    clothes: Clothes
    iris: Colour
    crooked: float  # +1: the smile pulls on the person's left, -1: on the right
    seed: int
    rest: dict[str, float]  # facial actions that this face wears at rest
    sculpt: dict[str, float]


def capture_name(identity: int) -> str:
    """What the capture of a person is called."""
    return f"speaker-{identity}"


def portrait_name(identity: int) -> str:
    """The same of their portrait."""
    return f"portrait-{identity}"


IDENTITIES = (
    Identity(
        name="Mara",
        betas=(0.31, -0.93, 0.15, -0.63, -2.06, -0.67, -0.08, 0.28, 0.6, -0.63),
        skin=Skin(tone=(0.87, 0.69, 0.58), lips=(0.74, 0.38, 0.37), blush=0.9, freckles=0.35,
                  brow=(0.27, 0.17, 0.11), brow_weight=0.85, make_up=0.6),
        hair=Hair(style="bob", colour=(0.30, 0.165, 0.095), light=(0.66, 0.42, 0.23)),
        clothes=Clothes(pattern="stripes", main=(0.90, 0.87, 0.80), second=(0.12, 0.20, 0.36),
                        third=(0.80, 0.32, 0.22), neckline=0.028, trousers=(0.20, 0.25, 0.36)),
        iris=(0.31, 0.33, 0.21),
        crooked=1.0,
        seed=11,
        rest={"mouthSmileLeft": 0.24, "mouthSmileRight": 0.22, "browDownLeft": 0.05, "browDownRight": 0.05},
        sculpt={"lips": 0.3, "jaw": -1.0, "chin": 0.9, "nose": -1.0, "eyes": 1.5},
    ),
    Identity(
        name="Tobe",
        betas=(0.57, 1.11, 0.11, 2.17, -0.87, 1.16, 0.18, 1.62, -2.5, 1.06),
        skin=Skin(tone=(0.47, 0.31, 0.23), lips=(0.47, 0.26, 0.23), blush=0.35, stubble=0.5,
                  brow=(0.07, 0.05, 0.045), brow_weight=1.1),
        hair=Hair(style="short", colour=(0.065, 0.052, 0.048), light=(0.17, 0.13, 0.11), beard=0.004),
        clothes=Clothes(pattern="shirt", main=(0.20, 0.47, 0.49), second=(0.93, 0.91, 0.85),
                        third=(0.86, 0.62, 0.22), neckline=0.035, trousers=(0.24, 0.22, 0.21), hang=0.85),
        iris=(0.20, 0.12, 0.07),
        crooked=-1.0,
        seed=23,
        rest={"mouthSmileLeft": 0.14, "mouthSmileRight": 0.18, "eyeBlinkLeft": 0.05, "eyeBlinkRight": 0.05},
        sculpt={"jaw": 0.2, "eyes": 0.5, "chest": -1.0},
    ),
    Identity(
        name="Henrik",
        betas=(-0.01, 1.81, 1.42, -0.93, -0.52, 0.74, 1.13, -1.19, -0.9, 0.77),
        skin=Skin(tone=(0.89, 0.71, 0.62), lips=(0.72, 0.43, 0.40), blush=1.3, freckles=0.2, stubble=0.3,
                  age=1.0, brow=(0.42, 0.29, 0.19), brow_weight=0.9),
        hair=Hair(style="none", colour=(0.42, 0.27, 0.17), light=(0.68, 0.53, 0.40), beard=0.012),
        clothes=Clothes(pattern="cable", main=(0.33, 0.42, 0.30), second=(0.25, 0.33, 0.24),
                        third=(0.62, 0.45, 0.26), neckline=0.015,
                        trousers=(0.42, 0.36, 0.29), loose=0.014, hang=0.8),
        iris=(0.32, 0.45, 0.56),
        crooked=1.0,
        seed=37,
        rest={"mouthSmileLeft": 0.16, "mouthSmileRight": 0.12, "browDownLeft": 0.1, "browDownRight": 0.1,
              "eyeBlinkLeft": 0.08, "eyeBlinkRight": 0.08},
        sculpt={"jaw": 0.4, "eyes": 0.5, "chest": -1.0},
    ),
)  # fmt: skip


# Tones of skin and hair between which strangers' lie, from light to dark.
SKINS = ((0.93, 0.77, 0.68), (0.87, 0.69, 0.58), (0.74, 0.54, 0.42), (0.56, 0.38, 0.28), (0.40, 0.26, 0.19))
HAIRS = ((0.62, 0.47, 0.29), (0.36, 0.22, 0.13), (0.20, 0.13, 0.09), (0.07, 0.055, 0.05), (0.45, 0.43, 0.42))
IRISES = tuple(IDENTITIES[who].iris for who in (2, 0, 1))  # likewise


def person(identity: int, cloth: str = "own") -> Identity:
    """One of `IDENTITIES`, beyond them a stranger; in their own top ("own") or in one of another pattern."""
    who = IDENTITIES[identity] if identity < len(IDENTITIES) else stranger(identity)
    return who if cloth == "own" else replace(who, clothes=replace(who.clothes, pattern=cloth))


def stranger(number: int) -> Identity:
    """Somebody drawn at random: the same number is the same person."""
    rng = np.random.default_rng([number, 31])
    dark = rng.random()
    tone = _between(SKINS, dark) * rng.uniform(0.94, 1.04, 3)
    style = str(rng.choice(("bob", "long", "short", "none")))
    hair = _between(HAIRS, rng.random() if dark < 0.5 else rng.uniform(0.5, 1))
    bearded = style in ("short", "none") and rng.random() < 0.5
    lips = tone * rng.uniform((0.82, 0.50, 0.54), (1.0, 0.75, 0.80))
    skin = Skin(
        tone=_colour(tone),
        lips=_colour(lips),
        blush=float(rng.uniform(0.2, 1.3)),
        freckles=float(rng.uniform(0, 0.4) * (dark < 0.5)),
        stubble=float(rng.uniform(0.2, 0.7) * bearded),
        age=float(rng.uniform(0, 1)),
        brow=_colour(0.8 * hair),
        brow_weight=float(rng.uniform(0.7, 1.2)),
        make_up=float(rng.uniform(0, 0.8) * (style in ("bob", "long"))),
    )
    dyes = rng.uniform(0.1, 0.9, (4, 3))
    main, second, third, trousers = 0.5 * (dyes + dyes.mean(1, keepdims=True))
    clothes = Clothes(
        pattern=str(rng.choice(("stripes", "shirt", "cable"))),
        main=_colour(main), second=_colour(second), third=_colour(third), trousers=_colour(0.6 * trousers),
        neckline=float(rng.uniform(0.015, 0.035)), hang=float(rng.uniform(0.4, 0.85)),
    )  # fmt: skip
    smile, lids, brows = rng.uniform((0, 0, 0), (0.25, 0.1, 0.1)).tolist()
    return Identity(
        name=f"stranger {number}",
        betas=tuple(rng.normal(0, 1, 10).clip(-2, 2).tolist()),
        skin=skin,
        hair=Hair(style, _colour(hair), _colour(hair * 1.7), beard=float(rng.uniform(0.003, 0.012) * bearded)),
        clothes=clothes,
        iris=IRISES[min(int(2 * dark + rng.random()), 2)],
        crooked=float(rng.choice((-1, 1))),
        seed=100 + number,
        rest={"mouthSmileLeft": smile, "mouthSmileRight": smile, "eyeBlinkLeft": lids, "eyeBlinkRight": lids,
              "browDownLeft": brows, "browDownRight": brows},
        sculpt={part: float(rng.uniform(-1, 1)) for part in ("jaw", "chin", "nose", "eyes", "lips")},
    )  # fmt: skip


def _between(colours: tuple[Colour, ...], place: float) -> Float[ndarray, " 3"]:
    """A colour of the row, from 0 (the first) to 1 (the last)."""
    at = place * (len(colours) - 1)
    return np.array([np.interp(at, range(len(colours)), channel) for channel in zip(*colours, strict=True)])


def _colour(values: Float[ndarray, " 3"]) -> Colour:
    red, green, blue = np.clip(values, 0.02, 0.97).tolist()
    return red, green, blue
