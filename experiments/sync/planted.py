"""What a SyncNet's file says of captures it never saw, with their sound as it is and moved.

  python experiments/sync/planted.py runs/syncnet captures/me captures/her

"Conf of 15" is Conf where lips and sound that do not belong together lie 15 apart, as the published weights put them:
files of any unit can be compared by it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from talkingavatar.data.capture import Capture
from talkingavatar.data.sync_clips import sync_clip
from talkingavatar.engine.measuring.fit_results import Results
from talkingavatar.engine.stages.syncnet import UNSEEN, measure_clip
from talkingavatar.metrics.lipsync.syncnet import SyncNetScorer, find_syncnet
from talkingavatar.pretrained.syncnet import UNRELATED


def planted(scorer: SyncNetScorer, folder: Path) -> None:
    """A line for the capture as it is, and for each shift."""
    results = Results()
    results.definitions = {"sync_curves": {}}
    clip = sync_clip(Capture(folder), lambda total: lambda: None).unseen()
    row = measure_clip(scorer, clip, f"{UNSEEN}/{clip.name}", results)
    print(", ".join(f"{name} {value}" for name, value in row.items() if "accuracy" in name or "held-out" in name))
    for key in results.definitions["sync_curves"]:
        ao, md, conf = (results.metrics[f"{key}/{figure}"] for figure in ("ao", "md", "conf"))
        of = UNRELATED * conf / (md + conf)
        print(f"{key.removeprefix(UNSEEN + '/')}: AO {ao:.0f}, MD {md:.2f}, Conf {conf:.2f}, Conf of 15 {of:.2f}")


if __name__ == "__main__":
    file = find_syncnet(sys.argv[1])
    for name in sys.argv[2:]:
        planted(SyncNetScorer(file), Path(name))
