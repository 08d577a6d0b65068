"""What an avatar cost to fit, and how large it is."""

from __future__ import annotations

from typing import ClassVar

from talkingavatar.engine.driver import driver_files
from talkingavatar.engine.measuring.measure import Findings, Measure
from talkingavatar.engine.run import checkpoint

MB = 1e6  # bytes, as discs are sold


class FitCost(Measure):
    """Minutes of `fit`, and the bytes of what it fitted; both hold for the machine and the budget of the run."""

    keys = ("cost",)
    needs = ("avatar",)
    of_run = True
    definitions: ClassVar = {
        "cost": "minutes: of the command fit, from capture to its own videos, over all its starts; megabytes: of the "
        "tensors of avatar and drivers as their checkpoints hold them, without what only an optimiser needs",
    }

    def finish(self, found: Findings, truth: Findings) -> Findings:
        avatar = self.setting.avatar
        assert avatar is not None
        drivers = driver_files(avatar.run, avatar.data.config).values() if avatar.driver is not None else ()
        states = [checkpoint.read(file)["state_dict"] for file in (avatar.checkpoint, *drivers)]
        size = sum(tensor.numel() * tensor.element_size() for state in states for tensor in state.values())
        metrics = {"cost/megabytes": size / MB}
        summary = avatar.run.read_summary()
        if summary is None or summary["status"] != "finished":
            return Findings(metrics, {"cost/minutes": "the fit has not finished"})
        return Findings(metrics | {"cost/minutes": summary["wall_s"] / 60})
