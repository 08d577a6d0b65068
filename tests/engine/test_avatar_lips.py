"""Lips open as far as what is seen between them."""

from dataclasses import replace

import pytest
import torch

from talkingavatar.config.compose import compose
from talkingavatar.engine.build import build_body, build_data, build_method
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.engine.measuring.held_out import some_held_out
from talkingavatar.engine.measuring.measure import Findings, Networks, Options, Setting
from talkingavatar.engine.measuring.measures.avatar_lips import AvatarLips
from talkingavatar.engine.run.directory import RunDirectory

SMALL = ["debug=one_step", "tracking=none", "trainer.progress=false", "data.framing=head", "data.size=128"]
FRAMES = list(range(0, 48, 6))


@pytest.fixture(scope="module")
def avatar(tmp_path_factory):
    config = compose([*SMALL, "data.seconds=2"])
    body = build_body(config)
    data = build_data(config, body)
    method = build_method(config, data, body).eval().requires_grad_(False)
    run = RunDirectory(tmp_path_factory.mktemp("run"))
    return FittedRun(run, run.checkpoint("avatar"), data, method)


def opening(avatar, widest):
    """The frames' poses with a jaw that opens from shut to `widest` radians."""
    pose = avatar.data.signal(FRAMES).pose
    full_pose = pose.full_pose.clone()
    full_pose[:, 22] = torch.linspace(0, widest, len(FRAMES))[:, None] * torch.tensor([1.0, 0.0, 0.0])
    return replace(pose, full_pose=full_pose, expression=torch.zeros_like(pose.expression))


def lips(avatar, widest):
    """What is found of an untrained avatar, which is its body, where truly the jaw opens by half a radian."""
    held = some_held_out(avatar.data, avatar.method.body, FRAMES)
    held = replace(held, truth=opening(avatar, 0.5))
    measure = AvatarLips(Setting(held, Networks(), Options(), {}, avatar=avatar))
    driven = opening(avatar, widest)
    for i, frame in enumerate(FRAMES):
        signal = replace(avatar.data.signal([frame]), frame=torch.tensor([-1]), pose=driven[[i]])
        measure.add(i, None, None, signal)
    return measure.finish(Findings(), Findings()).metrics


def test_lips_open_as_far_as_truly_by_half_or_not_at_all(avatar):
    whole, half, shut = (lips(avatar, widest) for widest in (0.5, 0.25, 0.0))
    assert whole["lips/r"] > 0.9 and 0.6 < whole["lips/extent"] < 1.4
    assert half["lips/extent"] < 0.7 * whole["lips/extent"] and half["lips/px"] > 1.5 * whole["lips/px"]
    assert shut["lips/extent"] < 0.1


@pytest.mark.parametrize(("truth", "told"), [(True, "no inside"), (False, "true parameters")])
def test_what_lacks_is_said(avatar, truth, told):
    held = some_held_out(avatar.data, avatar.method.body, FRAMES)
    held = held if truth else replace(held, truth=None)
    measure = AvatarLips(Setting(held, Networks(), Options(), {}, avatar=avatar))
    measure.inside = torch.zeros_like(measure.inside)
    measure.add(0, None, None, avatar.data.signal(FRAMES[:1]))
    assert told in measure.finish(Findings(), Findings()).skipped["lips"]
