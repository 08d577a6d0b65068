"""What one clause says: feelings and how strong, what of the face does what, and what of both is denied."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

from talkingavatar.body.action_units import INTENSITY
from talkingavatar.data.prompts.lexicon import Entry, Lexicon, tokens
from talkingavatar.errors import UserError

MISSPELT = 0.82  # likeness to a degree from which an unknown word is taken for one
NEUTRAL = "neutral"


@dataclass(frozen=True)
class Said:
    """Of one clause."""

    emotions: Mapping[str, float] = field(default_factory=dict)  # share of each
    denied: tuple[str, ...] = ()  # emotions that are said not to be
    units: Mapping[str, float] = field(default_factory=dict)  # intensities asked for by name; 0 takes back
    lasts: float | None = None  # seconds of the units
    unknown: tuple[str, ...] = ()  # words
    rest: str = ""  # the clause less what says how much, or that it is not so
    factor: float = 1.0  # of what says how much, where it is not known of what
    negated: bool = False

    @property
    def anything(self) -> bool:
        return bool(self.emotions or self.denied or self.units)


@dataclass
class _Match:
    """An entry that stands at some tokens."""

    start: int
    entry: Entry
    factor: float = 1.0
    share: float | None = None  # as a number says


def read_clause(text: str, lexicon: Lexicon, field: str) -> Said:
    """
    Raises:
        UserError: a share that is none, or a misspelt degree.
    """
    words = tokens(text)
    deed = _Deed(words, lexicon)
    matches = list(_matches(words, deed.used, lexicon))
    spoken = [match for match in matches if match.entry.kind in ("feeling", "event")]
    left = _strengths(matches, spoken)
    _numbers(words, spoken, field)
    negated = min((match.start for match in matches if match.entry.kind == "negation"), default=len(words))
    denied = [match for match in spoken if match.start > negated]
    meant = [match for match in spoken if match.start <= negated]
    named = [match for match in meant if match.entry.kind == "feeling"]
    emotions = _shares(named or meant)
    units = deed.units
    if units and min(deed.used) > negated:
        units = dict.fromkeys(units, 0.0)
    factor = 1.0 if spoken else left
    unknown = _unknown(words, {match.start for match in matches} | deed.used, lexicon)
    if emotions or units:
        _refuse_misspelt(unknown, lexicon, field)
    units = {key: min(value * factor, INTENSITY) for key, value in units.items()}
    others = dict.fromkeys(name for match in denied for name in match.entry.emotions if name not in emotions)
    aside = {match.start for match in matches if match.entry.kind in ("degree", "negation")}
    rest = " ".join(word for place, word in enumerate(words) if place not in aside)
    return Said(emotions, tuple(others), units, deed.lasts, unknown, rest, left, negated < len(words))


def degrees_only(text: str, lexicon: Lexicon) -> bool:
    """Whether a piece of text says no more than how much of what follows."""
    words = tokens(text)
    kinds = {match.entry.kind for match in _matches(words, set(), lexicon)}
    return kinds == {"degree"} and not _unknown(words, set(), lexicon)


def near(words: tuple[str, ...], lexicon: Lexicon) -> list[str]:
    """Words of feelings that are written like these."""
    found = [match for word in words for match in difflib.get_close_matches(word, lexicon.named, n=2, cutoff=0.6)]
    return list(dict.fromkeys(found))[:4]


def _matches(words: list[str], used: set[int], lexicon: Lexicon) -> Iterator[_Match]:
    """The longest entries from left to right; of what a deed has used only as a part of a longer phrase."""
    place = 0
    while place < len(words):
        for length in range(min(lexicon.longest, len(words) - place), 0, -1):
            entry = lexicon.entries.get(" ".join(words[place : place + length]))
            if entry is not None and not (length == 1 and place in used):
                for k in range(1, length):  # so that none of its words counts as unknown
                    yield _Match(place + k, Entry("filler"))
                yield _Match(place, entry)
                place += length - 1
                break
        place += 1


def _strengths(matches: list[_Match], spoken: list[_Match]) -> float:
    """Give each feeling the degrees before it, and the last those after it; the product of all, where there is none."""
    pending: list[float] = []
    for match in sorted(matches, key=lambda match: match.start):
        if match.entry.kind == "degree":
            pending.append(match.entry.factor)
        elif match in spoken:
            match.factor, pending = prod(pending), []
    if spoken:
        max(spoken, key=lambda match: match.start).factor *= prod(pending)
    return prod(pending)


def _numbers(words: list[str], spoken: list[_Match], field: str) -> None:
    """A share that stands right before or behind a feeling: "happy 0.5", "80% sad".

    Raises:
        UserError: it is more than 1.
    """
    for place, word in enumerate(words):
        if not word[0].isdigit():
            continue
        value = float(word.removesuffix("%")) / (100 if word.endswith("%") else 1)
        for match in spoken:
            if match.entry.kind == "feeling" and match.share is None and match.start in (place - 1, place + 1):
                if value > 1:
                    raise UserError(field, f"{' '.join(words)}", "a share from 0 to 1, or 0% to 100%", "correct it")
                match.share = value
                break


def _shares(matches: list[_Match]) -> dict[str, float]:
    """The most that is said of each; a feeling beside neutral is one all the same."""
    shares: dict[str, float] = {}
    for match in matches:
        for name, share in match.entry.emotions.items():
            said = min(share * match.factor, 1.0) if match.share is None else match.share
            shares[name] = max(shares.get(name, 0.0), said)
    if len(shares) > 1:
        shares.pop(NEUTRAL, None)
    return shares


def _unknown(words: list[str], known: set[int], lexicon: Lexicon) -> tuple[str, ...]:
    return tuple(
        word for place, word in enumerate(words)
        if place not in known and not word[0].isdigit() and word not in lexicon.entries
    )  # fmt: skip


def _refuse_misspelt(unknown: tuple[str, ...], lexicon: Lexicon, field: str) -> None:
    changing = [key for key, entry in lexicon.entries.items() if entry.kind in ("degree", "negation")]
    for word in unknown:
        if len(word) > 3 and (found := difflib.get_close_matches(word, changing, n=1, cutoff=MISSPELT)):
            raise UserError(field, repr(word), "how much, in known words", f"did you mean {found[0]}?")


class _Deed:
    """What of the face a clause names, and what is done to it."""

    def __init__(self, words: list[str], lexicon: Lexicon) -> None:
        self.used: set[int] = set()
        self.units: dict[str, float] = {}
        self.lasts: float | None = None
        parts = list(_phrases(words, lexicon.parts))
        places = {place for start, length, _ in parts for place in range(start, start + length)}
        deeds = [deed for deed in _phrases(words, lexicon.deeds) if deed[0] not in places]
        side = self._side(words, lexicon)
        for start, length, (name, *_) in parts:
            can = lexicon.words.parts[name].deeds
            for place, count, names in deeds:
                if done := [deed for deed in names if deed in can]:
                    self._add(can[done[0]], side, {*range(start, start + length), *range(place, place + count)})
                    break
        if not self.units:
            for start, length, (name, *_) in _phrases(words, lexicon.alone):
                alone = lexicon.words.deeds_alone[name]
                self._add(alone.units, side, set(range(start, start + length)))
                self.lasts = alone.lasts

    def _add(self, units: Mapping[str, float], side: str, places: set[int]) -> None:
        self.used |= places
        for key, value in units.items():
            self.units[key[:4] + side if side else key] = value

    def _side(self, words: list[str], lexicon: Lexicon) -> str:
        named = [side for side, names in lexicon.words.sides.items() if set(names) & set(words)]
        return named[0] if len(named) == 1 else ""


def _phrases(words: list[str], table: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Where phrases of the table stand, the longest first: place, how many words, names."""
    place = 0
    while place < len(words):
        for length in (3, 2, 1):
            if names := table.get(" ".join(words[place : place + length])):
                yield place, length, names
                place += length - 1
                break
        place += 1
