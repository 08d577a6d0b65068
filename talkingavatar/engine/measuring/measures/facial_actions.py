"""Whether the face does what the true one does."""

from __future__ import annotations

from typing import ClassVar

from talkingavatar.engine.measuring.measure import Findings, Measure
from talkingavatar.errors import UserError
from talkingavatar.metrics.action_units import AuEstimator, au_error, mean_correlation


class FacialActions(Measure):
    """Error and correlation of facial actions, estimated from both sets of landmarks alike."""

    keys = ("au",)
    needs = ("frames", "pictures", "truth", "face", "landmarks")
    definitions: ClassVar = {
        "au": "facial actions estimated alike in render and ground truth. aue: mean squared error summed over lower or "
        "upper face; r: correlation of each action that moves",
    }

    def finish(self, found: Findings, truth: Findings) -> Findings:
        held = self.held
        cameras = held.pictures.capture.cameras(held.frames)
        try:
            estimator = AuEstimator(held.body)
            ours, true = (estimator.estimate(of.tables["landmarks"], held.pose, cameras) for of in (found, truth))
            compared = au_error(ours, true, estimator.names)
        except UserError as error:  # a body whose expressions have no names: a skip, no mistake
            return Findings(skipped={"au": str(error)})
        compared["mean_r"] = mean_correlation(compared)
        return Findings({f"au/landmark_fit/{name}": value for name, value in compared.items()})
