"""What the runs at hand say of a paper's claims: holds, fails, or cannot tell, with the figures and the reason.

A claim holds where the difference of two rows points its way and is certain twice: over pairs of runs (another seed or
another of these people would hardly turn it) and over blocks of the same held-out frames (another moment would hardly
turn it); where a metric has no values of each frame, over runs of at least two people. It fails where all of that is
certain of the opposite. All else cannot be told. People are those that were measured, and p stands for one claim: of
twenty that mean nothing one is certain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.config.protocol import TRUTH, Column, Protocol, Row
from talkingavatar.metrics.paired import LEAST_BLOCKS, Paired, block_means, over_blocks, over_runs
from talkingavatar.tables.claims import FAILS, HOLDS, UNKNOWN, Claim, Order, Verdict, read_claims
from talkingavatar.tables.paper import paper_file, read_paper
from talkingavatar.tables.table import NO_RUN, Result, Table, fits, origin_of, reason

Runs = Mapping[str, Mapping[int, Sequence[Result]]]  # by subject and seed
Pair = tuple[str, Sequence[Result], Sequence[Result]]  # subject, runs of the row above, runs of the row below
NO_FRAMES = "no values of each frame"
FPS = 25.0  # of results that do not say


def verdicts(name: str, protocol: Protocol, results: Iterable[Result]) -> tuple[Verdict, ...]:
    """On all claims about a protocol's table; none where its paper has none.

    Raises:
        UserError: a claim of an unknown row or metric.
    """
    file = paper_file(name)
    claims = read_claims(file, protocol) if file else []
    if file is None or not claims:
        return ()
    results, paper = list(results), read_paper(file, name, protocol)
    found = [judged(claim, protocol, results) for claim in claims]
    return tuple(replace(verdict, reported=_reported(verdict.claim.paper, verdict.column, paper)) for verdict in found)


def check_claims(name: str, protocol: Protocol) -> None:
    """
    Raises:
        UserError: a claim of an unknown row or metric.
    """
    if file := paper_file(name):
        read_claims(file, protocol)


def judged(claim: Claim, protocol: Protocol, results: Sequence[Result]) -> Verdict:
    """One claim, by what was measured."""
    column = next(column for column in protocol.columns if column.key == claim.metric)
    rows = [_row(name, protocol, results) for name in (claim.order.above, claim.order.below)]
    keys = [row.prefix + column.key for row in rows]
    runs = [_runs(row, results) for row in rows]
    for row, key, found in zip(rows, keys, runs, strict=True):
        if why := _missing(key, found, [result for result in results if fits(row, result)]):
            return Verdict(claim, column, UNKNOWN, f"{row.label}: {why}")
    pairs = list(_pairs(*(_with(key, found) for key, found in zip(keys, runs, strict=True))))
    if not pairs:
        return Verdict(claim, column, UNKNOWN, "the two rows were not measured of the same person")
    if why := _unlike(pairs):
        return Verdict(claim, column, UNKNOWN, why)
    by_run = over_runs(np.array([_mean(a, keys[0]) - _mean(b, keys[1]) for _, a, b in pairs]) * column.scale)
    means = _blocks(pairs, keys) * column.scale
    blocks = over_blocks(means) if len(means) else None
    people = len({subject for subject, _, _ in pairs})
    verdict, why = _decided(by_run, blocks, people)
    return Verdict(claim, column, verdict, why, by_run, people, blocks)


def _decided(runs: Paired, blocks: Paired | None, people: int) -> tuple[str, str]:
    if runs.count < 2:
        return UNKNOWN, "one pair of runs: nothing says what another seed or person would give"
    if not runs.certain:
        return UNKNOWN, f"the difference is within the spread of {runs.count} pairs of runs"
    if blocks is None and people < 2:
        return UNKNOWN, f"{NO_FRAMES}: one person's runs tell nothing of another moment"
    if blocks is None:
        return _sign(runs), f"certain over runs; {NO_FRAMES}"
    if blocks.count < LEAST_BLOCKS:
        return UNKNOWN, f"{blocks.count} blocks of a second or more are too few to count: hold out more"
    if not blocks.certain or _sign(blocks) != _sign(runs):
        return UNKNOWN, "runs agree, parts of the video do not"
    return _sign(runs), "certain over runs and over the video"


def _sign(paired: Paired) -> str:
    return HOLDS if paired.mean > 0 else FAILS


def _row(name: str, protocol: Protocol, results: Sequence[Result]) -> Row:
    """The row of that label, or of that experiment, as another's video has it; one that nothing fits for others."""
    rows = protocol.rows_for((str(result["experiment"]), str(result["family"])) for result in results)
    there = (row for row in rows if name in (row.label, row.experiment))
    return next(there, Row(name, name))


def _runs(row: Row, results: Sequence[Result]) -> Runs:
    """What was measured of a row."""
    found: dict[str, dict[int, list[Result]]] = {}
    for result in results:
        of_truth = row.label == TRUTH
        if origin_of(result) == "evaluate" and ("truth" in result if of_truth else fits(row, result)):
            kept = {**result, **result["truth"], "per_frame": {}} if of_truth else result
            found.setdefault(str(result["subject"]), {}).setdefault(int(result["seed"]), []).append(kept)
    return found


def _missing(key: str, runs: Runs, fitting: Sequence[Result]) -> str:
    """Why a row has no number; nothing where it has one."""
    every = [result for seeds in runs.values() for found in seeds.values() for result in found]
    if any(key in result["metrics"] for result in every):
        return ""
    if every:
        return reason(key, every[0].get("skipped", {})) or str(every[0].get("why", "not measured"))
    return str(fitting[0]["why"]) if fitting else NO_RUN


def _with(key: str, runs: Runs) -> Runs:
    """Those that have a number."""
    kept = {
        subject: {
            seed: with_it for seed, found in seeds.items() if (with_it := [r for r in found if key in r["metrics"]])
        }
        for subject, seeds in runs.items()
    }
    return {subject: seeds for subject, seeds in kept.items() if seeds}


def _pairs(above: Runs, below: Runs) -> Iterator[Pair]:
    """Of equal person and seed; where no seed is shared, as with another's video, all of a person make one pair."""
    for subject in sorted(above.keys() & below.keys()):
        seeds = sorted(above[subject].keys() & below[subject].keys())
        for seed in seeds:
            yield subject, above[subject][seed], below[subject][seed]
        if not seeds:
            first, second = ([r for found in of[subject].values() for r in found] for of in (above, below))
            yield subject, first, second


def _unlike(pairs: Sequence[Pair]) -> str:
    """Why numbers cannot be set against each other; nothing where they can."""
    for subject in dict.fromkeys(subject for subject, _, _ in pairs):
        of_one = [result for who, above, below in pairs if who == subject for result in (*above, *below)]
        for what in ("frames", "suite"):
            if any(result[what] != of_one[0][what] for result in of_one):
                return f"{subject}: {what} differ: evaluate all runs alike"
    return ""


def _mean(results: Sequence[Result], key: str) -> float:
    return fmean(result["metrics"][key] for result in results)


def _blocks(pairs: Sequence[Pair], keys: Sequence[str]) -> Float[ndarray, " n"]:
    """Differences over blocks of the video, those of one person's runs averaged first: their frames are the same."""
    blocks = [np.zeros(0)]
    for subject in dict.fromkeys(subject for subject, _, _ in pairs):
        of_one = [(above, below) for who, above, below in pairs if who == subject]
        first = of_one[0][0][0]
        rows = [(_by_frame(above, keys[0]), _by_frame(below, keys[1])) for above, below in of_one]
        known = [a - b for a, b in rows if a is not None and b is not None]
        if len(known) == len(rows):
            fps = float(first.get("capture", {}).get("fps", FPS))
            blocks.append(block_means(np.mean(known, 0), first["frames"], fps))
    return np.concatenate(blocks)


def _by_frame(results: Sequence[Result], key: str) -> Float[ndarray, " T"] | None:
    """The mean over runs; None where one does not know it."""
    if any(key not in result.get("per_frame", {}) for result in results):
        return None
    return np.mean([np.array(result["per_frame"][key], float) for result in results], 0)


def _reported(order: Order, column: Column, paper: Table) -> float | None:
    """The paper's own difference, mean over its people; positive in the claimed direction."""
    place = next((i for i, c in enumerate(paper.columns) if c.key == column.key), None)
    lines = [paper.line(name, paper.subjects[0]) for name in (order.above, order.below)]
    if place is None or any(line is None for line in lines):
        return None
    above, below = (line.cells[place].value for line in lines if line is not None)
    return None if above is None or below is None else above - below
