"""The whole commands on a CUDA device; each has its twin on the CPU in the files beside this one."""

import json

import pytest
import soundfile
import torch

from talkingavatar.audio.speech import load_speech, voices
from tests.behaviour.test_fit import parameters
from tests.conftest import TINY

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
ON_GPU = [*(o for o in TINY if o != "trainer.accelerator=cpu"), "trainer.accelerator=gpu", "budget.aligned_frames=1"]


def fit(command, run, *overrides, ends=0):
    done = command("fit", *ON_GPU, f"run.path={run}", *overrides, timeout=1200)  # kernels may have to be compiled
    assert done.returncode == ends, done.stderr
    return run


def test_a_fit_measures_itself_on_the_device_and_is_driven_and_evaluated(command, tmp_path):
    run = fit(command, tmp_path / "run", "data.seconds=6", "budget.heldout_frames=1")
    summary = json.loads((run / "summary.json").read_text())
    assert summary["metrics"]["heldout/full/psnr"] > 10 and summary["metrics"]["speed/peak_memory_mb"] > 1
    speech = load_speech(voices()[1]).excerpt(30.0, 31.0)
    soundfile.write(tmp_path / "new.wav", speech.samples, speech.rate)
    done = command("drive", f"run={run}", f"audio={tmp_path / 'new.wav'}")
    assert done.returncode == 0 and (run / "media" / "drive-new.mp4").is_file(), done.stderr
    done = command("evaluate", f"run={run}", "landmarks=none", "frames=30")
    assert done.returncode == 0, done.stderr


def test_a_driver_learns_through_an_avatar_with_live_readings(command, tmp_path):
    steps = ["stages.driver.steps=20", "driver.options.identities=[]", "driver.terms.render.start=300"]
    run = fit(command, tmp_path / "run", "experiment=gaussianheadtalk_full", *steps, "trainer.preview_every=5")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any("preview/driver_opening_r" in row for row in rows) and any("driver/loss/render" in row for row in rows)


def test_a_continued_run_is_about_the_one_never_stopped(command, tmp_path):
    """A GPU sums in any order; without a change of the count the two stay together."""
    fixed = ["density.name=none"]
    whole = parameters(fit(command, tmp_path / "whole", *fixed))
    fit(command, tmp_path / "parts", *fixed, "run.stop_after=25", ends=75)
    parts = parameters(fit(command, tmp_path / "parts", *fixed))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=2e-3, rtol=2e-2, msg=name)
