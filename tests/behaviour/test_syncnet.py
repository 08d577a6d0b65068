"""Training a SyncNet through the command line."""

import hashlib
import json

import pytest
import torch

from talkingavatar.config.compose import compose
from talkingavatar.engine.build import build_data
from talkingavatar.engine.fitted import load_run
from talkingavatar.errors import UserError
from talkingavatar.metrics.lipsync.syncnet import find_syncnet, load_syncnet

TINY = [
    "experiment=syncnet", "tracking=none", "data.seconds=4", "data.heldout=0.5", "data.size=64", "budget.name=tiny",
    "budget.steps=6", "pretrained.step_cost=1", "pretrained.options.identities=[0,1]", "pretrained.options.places=2",
    "pretrained.options.windows=2", "pretrained.options.eased_share=0.5", "trainer.checkpoint_every=2",
    "trainer.log_every=1", "trainer.preview_every=3",
]  # fmt: skip


def test_a_killed_training_ends_as_one_that_ran_through_and_leaves_a_scorer(command, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    other = build_data(compose(["data.seconds=2", "data.size=64", "tracking=none", "trainer.progress=false"])).capture
    given = [*TINY, f"pretrained.options.unseen=[{other.folder}]"]
    done = command("fit", *given, f"run.path={whole}", timeout=600)
    assert done.returncode == 0, done.stderr
    halt = command("fit", *given, f"run.path={stopped}", "run.stop_after=3", timeout=600)
    assert halt.returncode == 75 and not (stopped / "syncnet.model").exists()
    assert torch.load(stopped / "syncnet.ckpt", weights_only=True)["global_step"] == 3
    assert command("fit", *given, f"run.path={stopped}", timeout=600).returncode == 0

    first, second = (load_syncnet(run / "syncnet.model").state_dict() for run in (whole, stopped))
    assert all(torch.equal(first[key], second[key]) for key in first)
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {"loss/total", "lr/network", "train/accuracy"} <= rows[0].keys() and "preview/accuracy" in rows[2]

    summary = json.loads((whole / "summary.json").read_text())
    assert summary["status"] == "finished" and summary["steps"] == 6
    for who in ("speaker-0", "speaker-1"):
        assert {
            f"heldout/{who}/{figure}" for figure in ("accuracy_5", "ao", "md", "conf", "late_5/ao", "early_5/ao")
        } <= set(summary["metrics"])
        assert f"heldout/{who}/accuracy_15" in summary["metrics"]
        assert len(summary["definitions"]["sync_curves"][f"heldout/{who}"]) == 31
    assert [row["held-out"] for row in summary["table"]] == [
        "speaker-0, 50 frames",
        "speaker-1, 50 frames",
        "speaker-0, never seen, 50 frames",
    ]
    assert {"unseen/speaker-0/ao", "unseen/speaker-0/late_5/ao"} <= set(summary["metrics"])
    assert "weights: " in done.stdout and "syncnet.model" in done.stdout

    told = find_syncnet(str(whole)).provenance()
    digest = hashlib.sha256((whole / "syncnet.model").read_bytes()).hexdigest()
    assert told["sha256"] == digest and told["origin"] == "trained by experiment=syncnet"
    training = told["training"]
    assert training["steps"] == 6 and training["seed"] == 0 and training["heldout"] == summary["metrics"]
    assert [c["train"] for c in training["captures"]] == [[[0, 50]], [[0, 50]]]
    with pytest.raises(UserError, match="a run of syncnet"):
        load_run(whole)


@pytest.mark.parametrize(
    ("override", "message"),
    [("pretrained.options.identities=[-1]", "expected 0 to 9999"), ("data=capture data.path=nowhere", "nowhere")],
)
def test_a_mistake_ends_in_one_line(command, override, message):
    done = command("fit", *TINY, *override.split())
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
