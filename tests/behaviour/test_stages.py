"""An experiment of two stages: an avatar, then what foretells its motion from sound."""

import json

import soundfile
import torch

from talkingavatar.audio.speech import load_speech, voices
from tests.behaviour.test_fit import assert_same, run_of


def overrides(tiny, run, *more):
    steps = [
        "stages.driver.steps=12",
        "driver.options.identities=[]",
        "driver.terms.render.start=300",
        "budget.aligned_frames=1",
    ]
    return ["experiment=gaussianheadtalk_full", *tiny, *steps, f"run.path={run}", *more]


def test_both_stages_continue_and_speak(command, tiny, tmp_path):
    """Stopped within each stage, the run ends with the weights of one never stopped, and drives from sound.

    The driver differs in the last bit of a gradient once it learns through an avatar that was loaded, not just trained.
    """
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done = command("fit", *overrides(tiny, whole))
    assert done.returncode == 0, done.stderr
    for stop in (25, 46):
        stopped = command("fit", *overrides(tiny, parts, f"run.stop_after={stop}"))
        assert stopped.returncode == 75, stopped.stderr
    status = json.loads((parts / "status.json").read_text())
    assert status["state"] == "preempted"
    done = command("fit", *overrides(tiny, parts))
    assert done.returncode == 0, done.stderr
    assert run_of(done.stdout) == parts
    assert_same(whole, parts)
    a, b = (torch.load(run / "driver.ckpt", weights_only=True)["state_dict"] for run in (whole, parts))
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)
    summary = json.loads((parts / "summary.json").read_text())
    assert summary["steps"] == 52
    assert {"spoken/mouth/psnr", "heldout/mouth/psnr", "driver/opening_r/true"} <= summary["metrics"].keys()
    assert any("from sound" in row["held-out"] for row in summary["table"])
    assert {"speech.mp4", "driver-lips.png", "side_by_side.mp4"} <= {file.name for file in (parts / "media").iterdir()}
    steps = [json.loads(line)["step"] for line in (parts / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)) and steps[-1] == 52

    speech = load_speech(voices()[1]).excerpt(30.0, 32.0)
    soundfile.write(tmp_path / "new.wav", speech.samples, speech.rate)
    done = command("drive", f"run={parts}", f"audio={tmp_path / 'new.wav'}")
    assert done.returncode == 0, done.stderr
    done = command("evaluate", f"run={parts}", "protocol=gaussianheadtalk", "landmarks=none", "frames=25")
    assert done.returncode in (0, 2), done.stderr
    if done.returncode == 2:  # ten held-out frames are too few to say anything of motion
        assert "held-out frames" in done.stderr
