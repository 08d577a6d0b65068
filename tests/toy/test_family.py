"""A family that uses all that the platform offers is fitted, stopped and continued."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from talkingavatar.config.compose import compose
from talkingavatar.data.capture import Table
from talkingavatar.engine.build import build_body, build_data, build_method
from talkingavatar.engine.experiment import run_fit
from talkingavatar.methods import METHODS
from talkingavatar.runtime.signals import Preempted, StopFlag
from tests.conftest import TINY

LATENTS = 3


@pytest.fixture(scope="module", autouse=True)
def known():
    """The toy as an installed package would offer it, its preset in the user's own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "toy", "tests.toy.family:Toy")
        patch.setenv("TALKINGAVATAR_CONF", str(Path(__file__).parent / "conf"))
        yield


@pytest.fixture(scope="module")
def capture(cache, tmp_path_factory):
    """The embedded speaker with a motion latent of each frame."""
    small = ["data=speaker_head", "data.seconds=2", "data.size=64", "trainer.progress=false"]
    given = build_data(compose(small)).capture
    folder = tmp_path_factory.mktemp("latent") / "capture"
    shutil.copytree(given.folder, folder)
    time = np.arange(given.manifest.frames)[:, None] / given.manifest.fps
    values = np.sin(time * np.arange(1, LATENTS + 1)).astype(np.float32)
    Table([f"latent_{i}" for i in range(LATENTS)], values).save(folder / "motion.npz")
    return folder


def config(capture, *overrides):
    tiny = [word for word in TINY if not word.startswith("budget.steps")]
    return compose(
        ["experiment=toy", "data=capture", f"data.path={capture}", "data.shutter=0.5", *tiny, "budget.steps=16",
         "trainer.progress=false", *overrides]
    )  # fmt: skip


def content(run):
    return torch.load(run / "avatar.ckpt", weights_only=True)


def leaves(tree):
    """All tensors of nested dicts and lists, in order."""
    if isinstance(tree, torch.Tensor):
        return [tree]
    values = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else []
    return [leaf for value in values for leaf in leaves(value)]


@pytest.fixture(scope="module")
def whole(capture, tmp_path_factory):
    """A run that was never stopped."""
    run = tmp_path_factory.mktemp("whole")
    outcome = run_fit(config(capture, f"run.path={run}"), StopFlag())
    assert outcome is not None and "heldout/full/psnr" in outcome.summary["metrics"]
    return run


def test_it_is_fitted_and_shown_and_a_stop_changes_nothing(capture, whole, tmp_path):
    assert {"turn.mp4", "turntable.mp4", "expression_sweep.png"} <= {file.name for file in (whole / "media").iterdir()}
    with pytest.raises(Preempted):
        run_fit(config(capture, f"run.path={tmp_path}", "run.stop_after=9"), StopFlag())
    run_fit(config(capture, f"run.path={tmp_path}"), StopFlag())
    one, other = content(whole), content(tmp_path)
    for part in ("state_dict", "optimizer_states", "density"):
        pairs = list(zip(leaves(one[part]), leaves(other[part]), strict=True))
        assert pairs and all(torch.equal(a, b) for a, b in pairs), part


def test_what_each_gaussian_has_learned_follows_it(whole):
    state = content(whole)["state_dict"]
    vertices, codes = state["carried_vertex"], state["gaussians.codes"]
    assert len(vertices) == len(codes) == len(state["gaussians.means"]) > len(vertices.unique())
    (moments,) = content(whole)["optimizer_states"][0]["codes"]["state"].values()
    assert moments["exp_avg"].shape == codes.shape


def test_the_critic_steps_by_itself_and_only_once_it_has_begun(capture, whole, tmp_path):
    given = config(capture)
    first = build_method(given, build_data(given), build_body(given)).judge.weight
    assert not torch.equal(content(whole)["state_dict"]["judge.weight"], first)
    # The method's own loss goes through it all the same, and leaves no trace in it.
    late = ["method.schedule.critic.start=150000", "run.stop_after=12"]
    with pytest.raises(Preempted):
        run_fit(config(capture, f"run.path={tmp_path}", *late), StopFlag())
    assert torch.equal(content(tmp_path)["state_dict"]["judge.weight"], first)


def test_layers_are_apart_by_what_the_latent_does(capture):
    given = config(capture)
    data = build_data(given)
    method = build_method(given, data, build_body(given))
    signal = data.signal([5])
    layers = method.deform(signal)
    assert list(layers) == ["still", "shown"] and method.drive(signal).means.equal(layers["shown"].means)
    moved = layers["shown"].means - layers["still"].means
    assert moved.abs().max() > 0
    neutral = method.deform(data.signal([5], ["latent"]))
    bias = method.gaussians["codes"] @ method.reading.bias.unflatten(0, (4, 3))
    torch.testing.assert_close(neutral["shown"].means - neutral["still"].means, bias)
