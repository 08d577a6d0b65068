"""What a condition asks of a run is shown and compared as asked, or the run says why it cannot."""

import math
from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from talkingavatar.config.compose import compose
from talkingavatar.config.protocol import Condition
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
    return FittedRun(RunDirectory(tmp_path_factory.mktemp("run")), data, method)


def driven(avatar, condition):
    return DrivenFrames(
        avatar, some_held_out(avatar.data, avatar.method.body, avatar.data.capture.test_frames[:2]), condition
    )


def test_the_capture_is_shown_for_a_teacher(avatar):
    image, batch, _ = driven(avatar, Condition(layer="captured", reference="true")).draw(0)
    assert torch.equal(image, avatar.data.batch([avatar.data.capture.test_frames[0]]).image[0])
    torch.testing.assert_close(image, batch.image[0])  # the embedded speaker is its own truth


def test_true_pictures_are_seen_from_the_side(avatar):
    front, captured, _ = driven(avatar, Condition()).draw(1)
    side, batch, _ = driven(avatar, Condition(reference="true", view="35")).draw(1)
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
    assert foretold.samples.shape == (3, 2, 3)
    torch.testing.assert_close(foretold.samples[:, 0, 0], torch.tensor([0.02, 0.03, 0.04]))
    assert torch.equal(dice.driver.space.read(foretold.signal), foretold.samples[0])
    assert not foretold.moving.any() and foretold.signal.pose.full_pose.std(0).max() > STILL


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        (Condition(spoken=True), "no driver"),
        (Condition(spoken=True, driver="rig"), "no stage rig"),
        (Condition(spoken=True, driver="ridge", samples=2), "does not sample"),
        (Condition(layer="base"), "layer base: the method has shown"),
        (Condition(view="30"), "one camera"),
        (Condition(view="cam_05", reference="true"), "no true picture from such a camera"),
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
