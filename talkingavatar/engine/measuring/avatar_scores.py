"""The numbers of a fitted avatar at the end: held-out pictures, pose error of trained frames, speed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from talkingavatar.config.protocol import Condition
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.engine.measuring.driven_frames import DrivenFrames
from talkingavatar.engine.measuring.fit_results import MeasuredCondition, Results
from talkingavatar.engine.measuring.held_out import evenly, some_held_out
from talkingavatar.engine.measuring.measure import NOT_ASKED, Findings, Options, Setting
from talkingavatar.engine.measuring.measures.registry import MEASURES, find_networks
from talkingavatar.engine.measuring.scoring import Measures, score_avatar, score_run
from talkingavatar.metrics.suite import SUITE_VERSION

PREFIXES = {"full": "heldout", "aligned": "aligned", "spoken": "spoken"}  # of a condition's keys in a summary
TITLES = {"full": "", "aligned": ", aligned", "spoken": ", from sound"}  # what the table says of them
ROWS = {
    "full": "full frame",
    "matte": "inside the matte",
    "head": "head",
    "mouth": "mouth",
    "left_hand": "left hand",
    "right_hand": "right hand",
}


@torch.no_grad()
def measure(avatar: FittedRun, check: Callable[[], None]) -> Results:
    """Pictures of held-out frames, pose error of trained frames, speed. `check` may raise to stop.

    `heldout/` is driven as tracked, `aligned/` with the pose aligned to the picture first (see `pose_alignment`),
    `spoken/` with those parts of the pose that the run's driver, if it has one, foretells from the sound.
    """
    config, data = avatar.data.config, avatar.data
    measures = [measure for measure in MEASURES if measure.at_end]
    lpips, weights = tuple(config.metrics.lpips), config.metrics.weights
    options = Options(lpips, weights, landmarks="none", device=avatar.method.device)
    networks = find_networks(measures, options)
    frames = evenly(data.capture.test_frames, config.budget.heldout_frames)
    aligned = evenly(frames, config.budget.aligned_frames) if config.budget.aligned_frames else []
    held = some_held_out(data, avatar.body, frames)
    plain = Setting(held, networks, options, {"frames": NOT_ASKED}, Condition(), avatar,
                    brief=True, progress=config.trainer.progress, check=check)  # fmt: skip
    settings = {"full": plain}
    if aligned:
        held = some_held_out(data, avatar.body, aligned)
        settings["aligned"] = replace(plain, held=held, condition=Condition(align=True))
    if avatar.driver is not None:
        settings["spoken"] = replace(plain, condition=Condition(spoken=True))
    found = {name: _score(name, setting, avatar, measures) for name, setting in settings.items()}
    of_run = score_run(plain, measures)
    results = Results(skipped=networks.missing | of_run.missed, definitions=dict(networks.used))
    for name, findings in found.items():
        results.metrics |= {f"{PREFIXES[name]}/{key}": value for key, value in findings.metrics.items()}
        frames_of = settings[name].held.frames
        own = MeasuredCondition(name, frames_of, findings.metrics | of_run.metrics, findings.missed)
        results.conditions.append(own)
    results.metrics |= of_run.metrics
    results.definitions |= {"suite": SUITE_VERSION, "heldout_frames": frames, "aligned_frames": aligned}
    return results


def _score(name: str, setting: Setting, avatar: FittedRun, measures: Measures) -> Findings:
    driven = DrivenFrames(avatar, setting.held, setting.condition)
    return score_avatar(setting, measures, Findings(), driven, f"held-out frames{TITLES[name]}").findings


def table(results: Results) -> list[dict[str, Any]]:
    """The final table, a dict a row; a cell without a number says why."""
    columns = {"PSNR": "psnr", "SSIM": "ssim"}
    names = [k.split("/")[-1] for k in results.metrics if k.startswith("heldout/full/lpips")]
    names += [k for k in results.skipped if k.startswith("lpips")]
    columns |= {f"LPIPS {n.removeprefix('lpips_')}": n for n in names}
    rows = []
    for condition, region in [(c, r) for c in PREFIXES for r in ROWS]:
        prefix = PREFIXES[condition]
        if f"{prefix}/{region}/psnr" not in results.metrics:
            continue
        row: dict[str, Any] = {"held-out": ROWS[region] + TITLES[condition]}
        for column, key in columns.items():
            value = results.metrics.get(f"{prefix}/{region}/{key}")
            digits = 2 if key == "psnr" else 4
            absent = "" if region == "matte" else "skipped"
            row[column] = absent if value is None else f"{value:.{digits}f}"
        rows.append(row)
    return rows
