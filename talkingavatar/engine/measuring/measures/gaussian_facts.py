"""What a method tells of its fitted Gaussians itself."""

from __future__ import annotations

from typing import ClassVar

from talkingavatar.engine.measuring.measure import Findings, Measure


class GaussianFacts(Measure):
    """How far Gaussians stand off the skin that they are bound to, and how many nobody has seen."""

    keys = ("skin",)
    needs = ("avatar",)
    of_run = True
    at_end = True
    definitions: ClassVar = {
        "skin": "of the Gaussians at rest: distance from the surface that they stand on, half of them and nine in ten "
        "below it; and the share that no trained frame shows, filled with the colours of others",
    }

    def finish(self, found: Findings, truth: Findings) -> Findings:
        avatar = self.setting.avatar
        assert avatar is not None
        facts = avatar.method.facts()
        return Findings(facts, {} if facts else {"skin": "these Gaussians do not stand on a skin"})
