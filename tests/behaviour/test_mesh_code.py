"""Training a mesh code through the command line."""

import json

import torch

from talkingavatar.networks.mesh_code import load_mesh_code

TINY = [
    "experiment=mesh_code", "tracking=none", "budget.name=tiny", "budget.steps=4", "pretrained.step_cost=1",
    "pretrained.options.performances=1", "pretrained.options.seconds=1", "pretrained.options.faces=2",
    "pretrained.options.first=40", "pretrained.options.heldout=0.4", "trainer.checkpoint_every=1",
    "trainer.log_every=1", "trainer.preview_every=2",
]  # fmt: skip


def test_a_killed_training_ends_as_one_that_ran_through_and_leaves_a_code(command, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    done = command("fit", *TINY, f"run.path={whole}")
    assert done.returncode == 0, done.stderr
    assert command("fit", *TINY, f"run.path={stopped}", "run.stop_after=2").returncode == 75
    assert not (stopped / "mesh_code.npz").exists()
    assert command("fit", *TINY, f"run.path={stopped}").returncode == 0

    first, second = (load_mesh_code(run / "mesh_code.npz") for run in (whole, stopped))
    assert torch.equal(first.network.encoder.weight, second.network.encoder.weight)
    assert torch.equal(first.network.decoder.weight, second.network.decoder.weight)
    assert torch.equal(first.bank.dyn, second.bank.dyn) and torch.equal(first.to_rig, second.to_rig)
    assert first.provenance["steps"] == 4 and "random" in first.provenance["faces"]
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert {f"heldout/{who}/rms_mm" for who in ("Mara", "Tobe", "Henrik")} <= set(summary["metrics"])
