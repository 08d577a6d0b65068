"""What a condition asks of a run is shown and compared as asked, or the run says why it cannot."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from PIL import Image

from talkingavatar.config.compose import compose
from talkingavatar.config.protocol import Condition
from talkingavatar.data.capture import Capture
from talkingavatar.data.datamodule import CaptureData
from talkingavatar.drivers.driver import Driver
from talkingavatar.drivers.space import RigParameters
from talkingavatar.engine.build import build_body, build_data, build_method
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.engine.loop.machine import prepare_torch
from talkingavatar.engine.measuring.driven_frames import DrivenFrames
from talkingavatar.engine.measuring.foretold import STILL
from talkingavatar.engine.measuring.held_out import some_held_out
from talkingavatar.engine.measuring.unmeasurable import Unmeasurable
from talkingavatar.engine.run.directory import RunDirectory


class Dice(Driver):
    """A toy that answers one sound in as many ways as it is asked."""

    draws: ClassVar = True
    lookahead = math.inf

    def __init__(self, body):
        self.space = RigParameters(body, ("jaw",))

    def sample(self, heard, prompt, seed, count=1):
        rows = [torch.full((heard.frames, 3), 0.01 * (seed + k)) for k in range(count)]
        return torch.stack(rows)


@pytest.fixture(scope="module")
def avatar(tmp_path_factory):
    config = compose(["debug=one_step", "tracking=none", "trainer.progress=false"])
    prepare_torch(config)
    data = build_data(config)
    method = build_method(config, data, build_body(config)).eval().requires_grad_(False)
    run = RunDirectory(tmp_path_factory.mktemp("run"))
    return FittedRun(run, run.checkpoint("avatar"), data, method)


def driven(avatar, condition):
    return DrivenFrames(
        avatar, some_held_out(avatar.data, avatar.method.body, avatar.data.capture.test_frames[:2]), condition
    )


def test_a_teachers_pictures_are_compared_with_the_true_ones(avatar, tmp_path):
    """The capture's own are its truth, unless the truth lies apart."""
    teacher, true = Condition(layer="captured", reference="true"), Condition(reference="true")
    image, batch, _ = driven(avatar, teacher).draw(0)
    assert torch.equal(image, batch.image[0])
    folder = Path(shutil.copytree(avatar.data.capture.folder, tmp_path / "capture"))
    data = CaptureData(Capture(folder), avatar.data.config)
    for kind in ("frames", "mattes"):
        shutil.copytree(folder / kind / "front", folder / "truth" / kind / "front")
    frame = data.capture.test_frames[0]
    Image.new("RGB", (64, 64), "red").save(folder / "truth" / "frames" / "front" / f"{frame:06d}.png")
    apart = replace(avatar, data=data)
    image, batch, _ = driven(apart, teacher).draw(0)
    assert torch.equal(image, data.batch([frame]).image[0])
    torch.testing.assert_close(batch.image[0, 0, 0], torch.tensor([1.0, 0.0, 0.0]))
    assert not torch.equal(driven(apart, true).draw(0)[0], image), "the student draws"
    (folder / "truth" / "frames" / "front" / f"{frame:06d}.png").unlink()
    with pytest.raises(Unmeasurable, match="no true picture of 1 of 2"):
        driven(apart, true)


def test_true_pictures_are_seen_from_the_side(avatar):
    front, captured, _ = driven(avatar, Condition()).draw(1)
    side, batch, _ = driven(avatar, Condition(reference="true", view="30")).draw(1)
    assert not torch.equal(batch.cameras.viewmats, captured.cameras.viewmats)
    assert (side - front).abs().max() > 0.1 and (batch.image - captured.image).abs().max() > 0.1


def test_a_layer_is_drawn_by_name(avatar, monkeypatch):
    method = avatar.method
    shown, _, signal = driven(avatar, Condition()).draw(0)
    whole = method.deform(signal)["shown"]
    small = replace(whole, opacities=0.1 * whole.opacities)
    monkeypatch.setattr(type(method), "layers", ("base", "shown"))
    monkeypatch.setattr(method, "deform", lambda signal: {"base": small, "shown": whole})
    base, _, _ = driven(avatar, Condition(layer="base")).draw(0)
    assert torch.equal(driven(avatar, Condition(layer="shown")).draw(0)[0], shown)
    assert base.mean() > shown.mean() + 0.01, "it is mostly background"


def test_one_of_the_samples_is_shown_and_all_are_kept(avatar):
    dice = replace(avatar, driver=Dice(avatar.method.body))
    foretold = driven(dice, Condition(spoken=True, samples=3, seed=2)).foretold
    samples = torch.stack([dice.driver.space.read(answer) for answer in foretold.answers])
    assert samples.shape == (3, 2, 3) and foretold.answers[0] is foretold.signal
    torch.testing.assert_close(samples[:, 0, 0], torch.tensor([0.02, 0.03, 0.04]))
    assert not foretold.moving.any() and foretold.signal.pose.full_pose.std(0).max() > STILL


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        (Condition(spoken=True), "no driver"),
        (Condition(spoken=True, driver="rig"), "no driver that foretells"),
        (Condition(spoken=True, driver="ridge", samples=2), "does not sample"),
        (Condition(layer="base"), "layer base: the method has shown"),
        (Condition(view="cam_05"), "view cam_05: the capture has front, 30, 60"),
    ],
)
def test_what_a_run_does_not_have_is_said(avatar, condition, why):
    with pytest.raises(Unmeasurable, match=why):
        driven(avatar, condition)


def test_the_ridge_needs_no_driver(avatar):
    foretold = driven(avatar, Condition(spoken=True, driver="ridge")).foretold
    assert foretold.parts is not None and foretold.scale is not None
    tracked = avatar.data.signal(avatar.data.capture.test_frames[:2])
    assert not torch.equal(foretold.signal.pose.expression, tracked.pose.expression)
