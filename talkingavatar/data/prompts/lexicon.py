"""The words of prompts as data: read from `conf/text/*.yaml`, checked, and found again in all their inflections."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

from talkingavatar.config.listing import config_dirs
from talkingavatar.data.prompts.ask import intensity, unit_key
from talkingavatar.errors import UserError
from talkingavatar.runtime.readers import read_yaml

STRENGTHS = {"mild": 0.45, "plain": 0.7, "strong": 1.0}
EVENT = 0.7  # how much of a feeling what happened brings
PASSED = ("the", "a", "an", "your", "my", "his", "her", "its", "their", "our")  # between the words of a phrase
VOWELS = "aeiou"
AGAIN = "correct the file"
Kind = Literal["degree", "negation", "feeling", "event", "filler"]


@dataclass(frozen=True)
class Emotion:
    """A feeling as the file tells it."""

    units: dict[str, float] = field(default_factory=dict)  # intensities 0 to 5 of action units, when felt fully
    calms: list[str] = field(default_factory=list)  # units that it takes back
    mild: list[str] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)
    strong: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)  # name none and bring one


@dataclass(frozen=True)
class DeedAlone:
    """A word that tells what of the face does what."""

    words: list[str]
    units: dict[str, float]
    lasts: float | None = None  # seconds


@dataclass(frozen=True)
class Part:
    """A part of the face: its names, and what comes of each deed."""

    words: list[str]
    deeds: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Words:
    """`conf/text`, put together."""

    emotions: dict[str, Emotion]
    mixed: dict[str, dict[str, float]]
    degrees: dict[str, list[str]]
    negations: list[str]
    idioms: dict[str, str]
    refused: list[str]
    fillers: list[str]
    deeds: dict[str, list[str]]
    parts: dict[str, Part]
    deeds_alone: dict[str, DeedAlone]
    sides: dict[str, list[str]]
    opposed: list[list[str]]


@dataclass(frozen=True)
class Entry:
    """What a word or a phrase says."""

    kind: Kind
    factor: float = 1.0  # of a degree
    emotions: Mapping[str, float] = field(default_factory=dict)  # share of each, of a feeling or an event


SECTIONS = {f.name for f in fields(Words)}


class Lexicon:
    """Finds words and phrases; `entries` by their tokens, `words` as they are written."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self.entries: dict[str, Entry] = {}
        self.deeds = _by_word(words.deeds)
        self.parts = _by_word({name: part.words for name, part in words.parts.items()})
        self.alone = _by_word({name: deed.words for name, deed in words.deeds_alone.items()})
        self.named: dict[str, Mapping[str, float]] = {}  # words that name feelings, as they are written
        self.events: dict[str, Mapping[str, float]] = {}  # and those that bring some
        self._index()
        self.longest = max(len(key.split()) for key in self.entries)

    def _index(self) -> None:
        words = self.words
        for factor, listed in words.degrees.items():
            self._add(listed, Entry("degree", float(factor)))
        self._add(words.negations, Entry("negation"))
        shares: dict[str, dict[str, float]] = {}
        for name, emotion in words.emotions.items():
            for strength, share in STRENGTHS.items():
                for word in getattr(emotion, strength):
                    shares.setdefault(word, {})[name] = share
            for word in emotion.events:
                self.events[word] = {**self.events.get(word, {}), name: EVENT}
        self.named = {**shares, **words.mixed}
        told = [(word, Entry("feeling", 1.0, share)) for word, share in self.named.items()]
        told += [(word, Entry("event", 1.0, share)) for word, share in self.events.items()]
        for word, entry in told:
            self._add([word], entry)
        self._add(words.fillers, Entry("filler"))
        for word, entry in told:
            self._add(inflections(word), entry)

    def _add(self, words: Iterable[str], entry: Entry) -> None:
        for word in words:
            self.entries.setdefault(" ".join(tokens(word)), entry)


@cache
def lexicon() -> Lexicon:
    """The package's, and what `$TALKINGAVATAR_CONF` adds to it.

    Raises:
        UserError: a file is wrong.
    """
    return Lexicon(read_words([file for root in config_dirs() for file in sorted((root / "text").glob("*.yaml"))]))


def read_words(files: Iterable[Path]) -> Words:
    """Lists of several files are put one behind the other, tables into each other.

    Raises:
        UserError: a file is wrong, or names an action unit that there is not.
    """
    merged: dict[str, Any] = {}
    for file in files:
        content = read_yaml(file, AGAIN)
        try:
            merged = _put_together(merged, content)
            made = _typed(merged) if merged.keys() >= SECTIONS else None
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise UserError(str(file), f"{error}", "words of prompts, as in conf/text", AGAIN) from error
    assert made is not None
    for name, units in _all_units(made):
        for key, value in units.items():
            intensity(unit_key(key, f"text:{name}"), str(value), f"text:{name}")
    return made


def _put_together(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return one | {k: _put_together(one[k], v) if k in one else v for k, v in other.items()}
    return [*one, *other] if isinstance(one, list) and isinstance(other, list) else other


def _typed(read: dict[str, Any]) -> Words:
    """
    Raises:
        TypeError, ValueError, KeyError, AttributeError: something is not what it should be.
    """
    if unknown := read.keys() - SECTIONS:
        raise ValueError(f"an unknown section {sorted(unknown)[0]}")
    emotions = {
        name: Emotion(_numbers(told.pop("units")), **{kind: _texts(listed) for kind, listed in told.items()})
        for name, told in ((name, dict(content)) for name, content in read["emotions"].items())
    }
    parts = {
        name: Part(_texts(part["words"]), {k: _numbers(v) for k, v in part.items() if k != "words"})
        for name, part in read["parts"].items()
    }
    alone = {
        name: DeedAlone(_texts(deed["words"]), _numbers(deed["units"]), deed.get("lasts"))
        for name, deed in read["deeds_alone"].items()
    }
    lists: dict[str, Any] = {name: _texts(read[name]) for name in ("negations", "refused", "fillers")}
    for name in ("degrees", "deeds", "sides"):
        lists[name] = {str(key): _texts(listed) for key, listed in read[name].items()}
    mixed = {name: _numbers(shares) for name, shares in read["mixed"].items()}
    idioms = dict(zip(read["idioms"], _texts(list(read["idioms"].values())), strict=True))
    opposed = [_texts(pair) for pair in read["opposed"]]
    return Words(emotions, mixed, idioms=idioms, parts=parts, deeds_alone=alone, opposed=opposed, **lists)


def _texts(found: Any) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        wrong = next((text for text in found if not isinstance(text, str)), found) if isinstance(found, list) else found
        raise TypeError(f"{wrong!r} where texts should be (quote no, on and the like)")
    return found


def _numbers(found: Any) -> dict[str, float]:
    return {str(name): float(value) for name, value in found.items()}


def _all_units(words: Words) -> Iterator[tuple[str, Mapping[str, float]]]:
    for name, emotion in words.emotions.items():
        yield name, emotion.units | dict.fromkeys(emotion.calms, 0.0)
    for name, alone in words.deeds_alone.items():
        yield name, alone.units
    for name, part in words.parts.items():
        for deed, units in part.deeds.items():
            yield f"{name}.{deed}", units
    for pair in words.opposed:
        yield "opposed", dict.fromkeys(pair, 0.0)


def tokens(text: str) -> list[str]:
    """Lower-case words and numbers, without articles and possessives, which stand anywhere in a phrase."""
    plain = text.lower().replace("\u2019", "'")
    found = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+(?:\.\d+)?%?", plain)
    return [word.removesuffix("'s") for word in found if word not in PASSED]


def inflections(phrase: str) -> Iterator[str]:
    """Regular forms of the first word of a phrase, or of its last: sadness, happier, trembling, worried, loses."""
    words = phrase.split()
    for place in {0, len(words) - 1}:
        for form in _forms(words[place]):
            yield " ".join([*words[:place], form, *words[place + 1 :]])


def _forms(word: str) -> Iterator[str]:
    if len(word) < 3:
        return
    for ending in ("s", "es", "ed", "ing", "ly", "er", "est", "ness"):
        yield word + ending
    if word.endswith("e"):
        for ending in ("d", "ing", "r", "st"):
            yield (word if ending in ("d", "r", "st") else word[:-1]) + ending
    if word.endswith("le"):
        yield word[:-1] + "y"
    if word.endswith("ic"):
        yield word + "ally"
    if word.endswith("y"):
        for ending in ("ies", "ied", "ier", "iest", "ily", "iness"):
            yield word[:-1] + ending
    if word[-1] not in VOWELS + "wxy" and word[-2] in VOWELS and word[-3] not in VOWELS:
        for ending in ("ed", "ing", "er", "est", "y"):
            yield word + word[-1] + ending


def _by_word(table: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Names by each of their words, as tokens."""
    found: dict[str, tuple[str, ...]] = {}
    for exact in (True, False):
        for name, words in table.items():
            for word in words:
                for form in [word] if exact else inflections(word):
                    key = " ".join(tokens(form))
                    if name not in found.get(key, ()):
                        found[key] = (*found.get(key, ()), name)
    return found
