"""A prompt in plain words: "slightly sad, then furious from 3.5s", "raise your brows a little at 2s"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from talkingavatar.data.prompts.ask import Ask
from talkingavatar.data.prompts.clause import NEUTRAL, Said, degrees_only, near, read_clause
from talkingavatar.data.prompts.clock import SPAN, Span, ended, take_times
from talkingavatar.data.prompts.lexicon import Lexicon, lexicon
from talkingavatar.errors import UserError

FIELD = "emotion"
Placer = Callable[[str], Mapping[str, float] | None]  # emotions in a phrase without a known word, the clearest at 1
PLACED = 0.7  # how much is felt of what is placed, if nothing says how much
_SEGMENT = re.compile(r"([;,!?:\u2014\u2013]|\.(?!\d)|\bthen\b)", re.IGNORECASE)
_CLAUSE = re.compile(r"\b(?:and|but|yet|while|whereas|although|though|however|because)\b", re.IGNORECASE)
AT_ODDS = 0.7  # of what two clauses ask that a face does not do at once
FEW = 2  # unknown words that are a mistake; more may be a story round what is understood


@dataclass
class Piece:
    """A clause, when it holds, and what it says."""

    words: str
    span: Span
    then: bool = False  # what was before ends with it
    said: Said = field(default_factory=Said)


@dataclass(frozen=True)
class Reading:
    """What a prompt asks, and what the user is to be told of how it was understood."""

    asks: list[Ask]
    notes: list[str]
    pieces: list[Piece]

    def emotions(self) -> dict[str, float]:
        """The most that is said of each emotion at any time."""
        said: dict[str, float] = {}
        for piece in self.pieces:
            for name, share in piece.said.emotions.items():
                said[name] = max(said.get(name, 0.0), share)
        return said


def parse_text(text: str, placer: Placer | None = None, words: Lexicon | None = None) -> Reading:
    """
    Args:
        placer: of clauses in which no word is known; None: they are refused.

    Raises:
        UserError: words of which none is known, times that cannot be placed, or a share that is none.
    """
    words = lexicon() if words is None else words
    pieces = [piece for piece in _pieces(_plain(text, words), words) if piece.words.strip()]
    for piece in pieces:
        piece.said = read_clause(piece.words, words, FIELD)
    notes = [] if placer is None else _place(pieces, placer)
    notes += _refuse(text, pieces, words, placer is None)
    asks = _asks(pieces, words)
    return Reading(*_at_odds(asks, words, notes), pieces)


def _plain(text: str, words: Lexicon) -> str:
    """With idioms put in plain words, in one form of apostrophe."""
    text = SPAN.sub(lambda found: f"from {found[1]}s to {found[2]}s", text.replace("\u2019", "'"))
    idioms = words.words.idioms
    pattern = "|".join(re.escape(idiom) for idiom in sorted(idioms, key=len, reverse=True))
    return re.sub(rf"\b(?:{pattern})\b", lambda found: idioms[found[0].lower()], text, flags=re.IGNORECASE)


def _pieces(text: str, words: Lexicon) -> list[Piece]:
    """Clauses with their times. A clause without one has that of the next in its segment, or else of the one before.

    Raises:
        UserError: "then", or another word that says when, without a time.
    """
    pieces: list[Piece] = []
    then, before = False, ""
    for segment in _SEGMENT.split(text):
        if segment.lower() == "then":
            then = True
            continue
        if not segment.strip() or _SEGMENT.fullmatch(segment):
            continue
        made = _segment(before + segment, then, words)
        before = ""
        if all(not piece.words.strip() for piece in made):  # nothing but a time: of what was said before
            for piece in [p for p in pieces if not p.span.told]:
                piece.span = made[-1].span
        elif len(made) == 1 and not made[0].span.told and degrees_only(segment, words):
            before = f"{segment} "
            continue
        else:
            pieces += _following(made, pieces) if then else made
        then = False
    if then:
        raise UserError(FIELD, "'then' with nothing after it", "what is next, and when", "as in: then angry from 3s")
    return pieces


def _segment(segment: str, then: bool, words: Lexicon) -> list[Piece]:
    taken = [take_times(clause, FIELD) for clause in _CLAUSE.split(segment)]
    told = [span for _, span in taken if span.told]
    left = " and ".join(clause for clause, _ in taken)
    for word in words.words.refused:
        if re.search(rf"\b{re.escape(word)}\b", left, re.IGNORECASE):
            if not told:
                raise _timeless(word)
            taken = [(re.sub(rf"\b{re.escape(word)}\b", " ", clause, flags=re.IGNORECASE), s) for clause, s in taken]
    pieces = []
    for number, (clause, span) in enumerate(taken):
        later = [s for _, s in taken[number:] if s.told]
        pieces.append(Piece(clause, (later or told[-1:] or [span])[0], then and number == 0))
    return pieces if any(piece.words.strip() for piece in pieces) else [Piece("", told[-1] if told else Span())]


def _following(made: list[Piece], before: list[Piece]) -> list[Piece]:
    """What comes after "then": at its own time, or when what is before it ends.

    Raises:
        UserError: neither is told.
    """
    if not made[0].span.told and before and before[-1].span.stop is not None:
        for piece in made:
            piece.span = Span(before[-1].span.stop)
    if made[0].span.start is None:
        raise _timeless("then")
    return made


def _timeless(word: str) -> UserError:
    expected = "when, in seconds (from 3.5s, until 4s)"
    return UserError(FIELD, f"{word!r}, which says no time", expected, "give the time, or leave it out")


def _place(pieces: Sequence[Piece], placer: Placer) -> list[str]:
    """Give meaning to what has none yet; a story without a known word has one meaning. What is to be told of it."""
    strange = _strange(pieces)
    if len(strange) == len(pieces) > 1 and not any(piece.span.told for piece in pieces):
        told = " ".join(piece.said.rest for piece in strange)
        strange = strange[:1]
        strange[0].said = replace(strange[0].said, rest=told)
    elif len(strange) < len(pieces):
        strange = [piece for piece in strange if len(piece.said.unknown) <= FEW]
    notes = []
    for piece in strange:
        few = len(piece.said.unknown) <= FEW  # words that say nothing of a feeling lead away from it
        if placed := placer(" ".join(piece.said.unknown) if few else piece.said.rest):
            factor = PLACED * piece.said.factor
            shares = {name: min(share * factor, 1.0) for name, share in placed.items()}
            piece.said = Said(denied=tuple(shares)) if piece.said.negated else Said(shares)
            notes.append(f"{piece.words.strip()!r} is taken for {', '.join(shares)}")
    return notes


def _strange(pieces: Sequence[Piece]) -> list[Piece]:
    return [piece for piece in pieces if not piece.said.anything and piece.said.unknown]


def _refuse(text: str, pieces: Sequence[Piece], words: Lexicon, alone: bool) -> list[str]:
    """What was not understood, to be told.

    Args:
        alone: nobody places unknown words.

    Raises:
        UserError: nothing was, or a few words by themselves were not.
    """
    strange = _strange(pieces)
    understood = any(piece.said.anything for piece in pieces)
    for piece in strange:
        if not understood or len(piece.said.unknown) <= FEW:
            like = near(piece.said.unknown, words)
            action = f"near it: {', '.join(like)}" if like else "say it in other words"
            more = "; or install the extra [text], which places unknown words" if alone else ""
            expected = f"feelings ({', '.join(words.words.emotions)}, ...) or what of the face does what"
            raise UserError(FIELD, repr(piece.words.strip()), expected, action + more)
    if not understood:
        raise UserError(FIELD, repr(text), f"one of {', '.join(words.words.emotions)}, ...", "say what is felt")
    return [f"not understood, and left out: {piece.words.strip()!r}" for piece in strange]


def _asks(pieces: Sequence[Piece], words: Lexicon) -> list[Ask]:
    """A feeling lasts until the next that begins later; what the face does, until its own end."""
    felt = [piece.span.start or 0.0 for piece in pieces if piece.said.emotions or piece.said.denied]
    breaks = [piece.span.start or 0.0 for piece in pieces if piece.then]
    asks = []
    for piece in pieces:
        start, said, told = piece.span.start or 0.0, piece.said, f"{FIELD}: {piece.words.strip()}"
        if said.emotions or said.denied:
            stop = ended(felt + breaks, start) if piece.span.stop is None else piece.span.stop
            asks.append(Ask(start, stop, *_of_feelings(said, words), told, feeling=True))
        if said.units:
            stop = ended(breaks, start) if piece.span.stop is None else piece.span.stop
            stop = min(stop, start + said.lasts) if said.lasts else stop
            raised = {key: value for key, value in said.units.items() if value > 0}
            asks.append(Ask(start, stop, raised, dict.fromkeys(said.units.keys() - raised, 1.0), told))
    return asks


def _of_feelings(said: Said, words: Lexicon) -> tuple[dict[str, float], dict[str, float]]:
    """Intensities to which units are raised, and shares by which they are calmed."""
    raised: dict[str, float] = {}
    calmed: dict[str, float] = {}
    for name, share in said.emotions.items():
        emotion = words.words.emotions[name]
        for key, value in emotion.units.items():
            raised[key] = max(raised.get(key, 0.0), share * value)
        for key in emotion.calms:  # to be neutral plainly is to be so wholly
            calmed[key] = max(calmed.get(key, 0.0), 1.0 if name == NEUTRAL else share)
    for name in said.denied:
        calmed |= dict.fromkeys(words.words.emotions[name].units, 1.0)
    return raised, calmed


def _at_odds(asks: Sequence[Ask], words: Lexicon, notes: list[str]) -> tuple[list[Ask], list[str]]:
    """Units that two clauses ask for at a time and that pull against each other are both asked for less."""
    less: list[set[str]] = [set() for _ in asks]
    for i, one in enumerate(asks):
        for j, other in enumerate(asks):
            if i != j and one.start < other.stop and other.start < one.stop:
                for a, b in words.words.opposed:
                    if _has(one, a) and _has(other, b) and not _has(one, b) and not _has(other, a):
                        less[i].add(a)
                        less[j].add(b)
                        notes.append(f"{a} and {b} pull against each other: both at {AT_ODDS:g} of what is asked")
    lowered = [
        replace(ask, raised={k: v * (AT_ODDS if k[:4] in few else 1.0) for k, v in ask.raised.items()})
        for ask, few in zip(asks, less, strict=True)
    ]
    return lowered, notes


def _has(ask: Ask, unit: str) -> bool:
    return any(key.startswith(unit) and value > 0 for key, value in ask.raised.items())
