"""Free sentences scored by what they ask of a face: python experiments/emodifftalk/text_score.py sentences.json

Each sentence names the emotion that must be the strongest, those that a fair reader would not call wrong (`also`),
action units that must rise by half a step (`rise`) and that must not (`still`); pairs have a weak and a strong form.
Refused sentences count as wrong. The encoder of unknown words is used where it is found.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from talkingavatar.body.action_units import NAMES
from talkingavatar.data.prompts.ask import track_of
from talkingavatar.data.prompts.text import parse_text
from talkingavatar.engine.performing.editing import placer
from talkingavatar.errors import UserError

RISES = 0.5  # of an intensity of 0 to 5, above a neutral face
REFUSED = "refused"


def read(text: str) -> tuple[str, dict[str, float]]:
    """The strongest emotion, and intensities of the action units."""
    try:
        understood = parse_text(text, PLACER)
    except UserError:
        return REFUSED, dict.fromkeys(NAMES, float("nan"))
    felt = understood.emotions()
    units = track_of(understood.asks, 25.0, 25).raised.max((0, 2)).tolist()
    return max(felt, key=lambda name: felt[name]) if felt else "neutral", dict(zip(NAMES, units, strict=True))


def score(sentence: dict[str, Any]) -> dict[str, int]:
    """1 for each of what is right."""
    found = [read(sentence[key]) for key in ("text", "weak", "strong") if key in sentence]
    emotion, also = sentence.get("emotion"), sentence.get("also", [])
    if len(found) == 2:
        units = all(found[0][1][unit] < found[1][1][unit] for unit in sentence["rise"])
    else:
        units = all(found[0][1][unit] >= RISES for unit in sentence.get("rise", []))
        units = units and all(found[0][1][unit] < RISES for unit in sentence.get("still", []))
    understood = all(name != REFUSED for name, _ in found)
    strict = emotion is None or all(name == emotion for name, _ in found)
    lenient = emotion is None or all(name in (emotion, *also) for name, _ in found)
    right = units and understood
    return {"of": 1, "strict": right and strict, "lenient": right and lenient, "refused": not understood}


if __name__ == "__main__":
    PLACER = placer()
    counts: dict[str, Counter[str]] = {}
    for sentence in json.loads(Path(sys.argv[1]).read_text())["sentences"]:
        for kind in (sentence["kind"], "all"):
            counts.setdefault(kind, Counter()).update(score(sentence))
    print("with" if PLACER else "without", "the encoder")
    for kind, found in counts.items():
        print(f"{kind:10}", ", ".join(f"{name} {count}" for name, count in found.items()))
