"""What a measurement depends on, as one key: where it is the same, a result stands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from talkingavatar.config.protocol import Condition
from talkingavatar.config.schema import FitConfig
from talkingavatar.engine.measuring.held_out import HeldOut
from talkingavatar.engine.measuring.measure import Networks
from talkingavatar.engine.measuring.measures.registry import MEASURES, versions
from talkingavatar.metrics.suite import SUITE_VERSION
from talkingavatar.runtime.files import sha256

ELSEWHERE = ("run", "trainer", "tracking")  # of a configuration: where and how it was fitted


def result_key(
    checkpoints: Iterable[Path],
    config: FitConfig,
    held: HeldOut,
    condition: Condition,
    networks: Networks,
    looked_at: Any,
) -> str:
    """Of one run's numbers under one condition.

    Args:
        checkpoints: of every stage that they come from.
        looked_at: views from the side, faces that nobody filmed, and what is measured where it is asked for.
    """
    run = [[sha256(file) for file in checkpoints], _drawn_by(config), held.digest()]
    return digest([SUITE_VERSION, versions(MEASURES), asdict(condition), run, _at_hand(networks), looked_at])


def truth_key(held: HeldOut, condition: Condition, networks: Networks, also: Collection[str] = ()) -> str:
    """Of the ground truth's own numbers, whatever the run.

    Args:
        also: what is measured where it is asked for.
    """
    pictures = [condition.reference, condition.view, sorted(also)]
    return digest([SUITE_VERSION, versions(MEASURES), pictures, held.digest(), _at_hand(networks)])


def digest(facts: Any) -> str:
    """Of anything JSON can say."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=list).encode()).hexdigest()


def _at_hand(networks: Networks) -> list[Any]:
    return [networks.used, networks.missing]


def _drawn_by(config: FitConfig) -> dict[str, Any]:
    return {name: part for name, part in asdict(config).items() if name not in ELSEWHERE}
