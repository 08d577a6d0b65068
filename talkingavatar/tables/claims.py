"""What a paper claims, as data: `claims` of `experiments/<table>/paper.json`, and what is said of each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talkingavatar.config.names import suggestion
from talkingavatar.config.protocol import TRUTH, Column, Protocol
from talkingavatar.errors import UserError
from talkingavatar.metrics.paired import Paired
from talkingavatar.runtime.readers import read_json

HOLDS, FAILS, UNKNOWN = "holds", "fails", "cannot tell"
FORM = "name, says, order (one row > another) and metric; and, where the paper's rows are named otherwise, paper"
SIGNS = (" > ", " < ")
CORRECT = "correct the file"
NOT_ROWS = ("source", "subjects", "columns", "claims")  # of paper.json: all other lists are rows


@dataclass(frozen=True)
class Order:
    """That one row's number is above another's."""

    above: str
    below: str

    def __str__(self) -> str:
        return f"{self.above} > {self.below}"


@dataclass(frozen=True)
class Claim:
    """An ordering of two rows of a protocol."""

    name: str
    says: str  # the paper's sentence, in words of our own
    order: Order
    metric: str  # a key of the protocol's columns
    paper: Order  # in the paper's own rows


@dataclass(frozen=True)
class Verdict:
    """What the runs at hand say of a claim. Differences are positive in the claimed direction, in the column's unit."""

    claim: Claim
    column: Column
    verdict: str  # HOLDS, FAILS, UNKNOWN
    why: str
    runs: Paired | None = None  # over people and seeds
    people: int = 0
    blocks: Paired | None = None  # of the same frames
    reported: float | None = None  # the paper's own difference


def read_claims(file: Path, protocol: Protocol) -> list[Claim]:
    """The claims that stand in a paper's file, if any.

    Raises:
        UserError: a claim of another form, or of a row or metric that neither the protocol nor the paper has.
    """
    content = read_json(file, dict, CORRECT)
    claims = content.get("claims", [])
    if not isinstance(claims, list):
        raise UserError(f"{file}: claims", type(claims).__name__, f"a list of {FORM}", CORRECT)
    rows = [key for key, value in content.items() if key not in NOT_ROWS and isinstance(value, list)]
    theirs = [label(row, protocol) for row in rows]
    ours = [row.label or row.experiment for row in protocol.rows] + [TRUTH] * protocol.truth
    return [_claim(f"{file}: claims[{i}]", told, ours, theirs, protocol) for i, told in enumerate(claims)]


def label(row: str, protocol: Protocol) -> str:
    """Of a row of a paper's figures: an experiment's name becomes its row's label."""
    return next((r.label for r in protocol.rows if r.label and r.experiment == row), row)


def _claim(where: str, told: Any, ours: list[str], theirs: list[str], protocol: Protocol) -> Claim:
    needed, known = {"name", "says", "order", "metric"}, {"name", "says", "order", "metric", "paper"}
    if not isinstance(told, dict) or not needed <= told.keys() <= known:
        raise UserError(where, str(told)[:80], FORM, CORRECT)
    if wrong := [name for name, value in told.items() if not isinstance(value, str)]:
        raise UserError(f"{where}.{wrong[0]}", repr(told[wrong[0]])[:80], "a text", CORRECT)
    order = _order(f"{where}.order", told["order"], [*ours, *theirs])
    paper = _order(f"{where}.paper", told["paper"], theirs) if "paper" in told else order
    _known(f"{where}.metric", told["metric"], "metric", [column.key for column in protocol.columns])
    return Claim(told["name"], told["says"], order, told["metric"], paper)


def _order(where: str, text: str, rows: Collection[str]) -> Order:
    for sign in SIGNS:
        first, found, second = text.partition(sign)
        if found:
            for row in (first, second):
                _known(where, row, "row", rows)
            return Order(first, second) if sign == SIGNS[0] else Order(second, first)
    raise UserError(where, repr(text), "one row > another, or <", CORRECT)


def _known(where: str, name: str, kind: str, names: Collection[str]) -> None:
    names = sorted(set(names))
    if name not in names:
        raise UserError(where, f"an unknown {kind} {name!r}", f"one of {', '.join(names)}", suggestion(name, names))
