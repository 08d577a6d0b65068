"""Training, driving and measuring on a CUDA device that is none (`tests.fake_cuda`): nothing is left on the CPU."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device

from talkingavatar.config.compose import compose
from talkingavatar.engine import experiment
from talkingavatar.engine.fitted import FittedRun
from talkingavatar.engine.loop.callbacks import Place
from talkingavatar.engine.loop.machine import prepare_torch
from talkingavatar.engine.measuring import pose_alignment
from talkingavatar.engine.measuring.avatar_scores import measure
from talkingavatar.engine.performing.fast import Fast
from talkingavatar.engine.performing.perform import DriveConfig, _driven
from talkingavatar.engine.performing.performance import Request, open_request, prepare
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.stages.registry import build_stage
from talkingavatar.methods import base
from talkingavatar.runtime.signals import StopFlag
from talkingavatar.splatting import render
from tests.conftest import TINY
from tests.engine.test_no_waits import stepped
from tests.fake_cuda import CUDA, FakeCuda, OnCuda, draw

FEW = (
    "driver.options.identities=[]", "metrics.lpips=[]", "trainer.progress=false",
    "budget.aligned_frames=1", "budget.heldout_frames=1",
)  # fmt: skip


@pytest.fixture(autouse=True)
def cuda(monkeypatch):
    monkeypatch.setattr(base, "rasterise", draw)
    monkeypatch.setattr(render, "rasterise", draw)  # of `paint`
    with FakeCuda() as device:
        yield device


@pytest.fixture(scope="module")
def stages(cache):
    """An avatar and its driver, on the device as they are after their training."""
    config = compose(["experiment=gaussianheadtalk_full", *TINY, *FEW])
    prepare_torch(config)
    made = {}
    with FakeCuda():
        for name in config.stages:
            made[name] = build_stage(name, config, dict(made))
            made[name].module.to(CUDA)
    return made


@pytest.fixture
def fitted(stages, tmp_path):
    avatar, driver = stages.values()
    run = RunDirectory(tmp_path)
    return FittedRun(run, run.checkpoint("avatar"), avatar.data, avatar.method.eval(), driver.driver())


def trained(stage, step):
    """A step of the stage's training, and the gradients of its parameters."""
    module = stage.module
    module.step = step
    module.configure_optimizers()
    module.requires_grad_(True)
    batch = next(iter(stage.data.train_dataloader()))
    loss = module.training_step(move_data_to_device(batch, CUDA), 0)
    loss.backward()
    return loss, [parameter.grad for parameter in module.parameters() if parameter.grad is not None]


def test_what_is_left_on_the_cpu_is_refused_as_a_device_refuses_it():
    there, here = torch.ones(2, device="cuda"), torch.ones(2)
    with pytest.raises(RuntimeError, match="several devices"):
        there + here
    with pytest.raises(TypeError):
        there.numpy()
    assert (there * 2 + here.sum()).cpu().tolist() == [4, 4] and isinstance(there[here.long()], OnCuda)


def test_a_driver_learns_from_what_the_avatar_draws(stages):
    """And both show, meanwhile, how they do on held-out frames."""
    avatar, driver = stages.values()
    for stage, step in ((avatar, 0), (driver, 39)):
        loss, gradients = trained(stage, step)
        assert isinstance(loss, OnCuda) and len(gradients) > 4
        assert all(isinstance(gradient, OnCuda) and gradient.isfinite().all() for gradient in gradients)
    assert "driver/loss/render" in driver.scalars()
    assert avatar.preview()[0]["preview/psnr"] > 0
    assert -1 <= driver.preview()[0]["preview/driver_opening_r"] <= 1
    assert not torch.backends.cudnn.allow_tf32
    assert driver.body.device.type == "cpu" and avatar.method.body.device == driver.training.body.device == CUDA


@pytest.mark.parametrize(("name", "most"), [("avatar", 1840), ("driver", 2550)])
def test_a_step_of_either_waits_for_nothing(cuda, stages, name, most):
    launches, waits = stepped(stages[name], cuda)
    assert waits == [] and len(launches) < most


def test_a_head_that_a_latent_drives_learns_there_and_waits_for_nothing(cuda, cache):
    config = compose(
        ["experiment=vasa3d_full", "stages=[avatar]", *TINY, *FEW, "data.frames=20", "method.options.perceptual=edges"]
    )
    prepare_torch(config)
    stage = build_stage("avatar", config, {})
    stage.module.to(CUDA)
    loss, gradients = trained(stage, 16)
    assert isinstance(loss, OnCuda) and all(gradient.isfinite().all() for gradient in gradients)
    assert {"loss/base_l1", "loss/perceptual", "loss/consistency"} <= set(stage.module.scalars.names)
    launches, waits = stepped(stage, cuda)
    assert waits == [] and len(launches) < 3600


def test_new_speech_is_performed_and_its_lips_compared(fitted, tmp_path):
    sound = tmp_path / "speech.wav"
    soundfile.write(sound, 0.1 * np.random.default_rng(0).standard_normal(4000), 16_000)
    (performance,) = prepare(fitted, open_request(Request(audio=sound)))
    driven = _driven(DriveConfig(tmp_path, progress=False), fitted, performance, None, tmp_path / "a.mp4", 0)
    assert driven.video.is_file() and driven.report["frames"] == len(performance) > 4
    assert [row["what"] for row in driven.report["lips"]][:2] == ["held-out, as tracked", "held-out, from its sound"]
    config, fast = DriveConfig(tmp_path, progress=False), Fast(fitted)  # from baked arrays, which stay on the device
    assert _driven(config, fitted, performance, None, tmp_path / "b.mp4", 0, fast).report["fast_psnr_db"] > 45


def test_speed_and_memory_that_are_measured_are_the_devices(fitted, monkeypatch):
    waits = []
    monkeypatch.setattr(pose_alignment, "STEPS", 2)
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**20 if device == CUDA else 0)
    found = measure(fitted, lambda: None)
    assert found.metrics["speed/peak_memory_mb"] == 3 and set(waits) == {CUDA}
    assert {"heldout/head/psnr", "aligned/head/psnr", "spoken/head/psnr"} <= found.metrics.keys()


def test_a_stage_stands_where_it_was_trained_once_it_is(stages, tmp_path, monkeypatch):
    """Lightning leaves it on the CPU."""

    class Trainer(SimpleNamespace):
        def fit(self, module, **rest):
            module.to("cpu")

    avatar = stages["avatar"]
    trainer = Trainer(strategy=SimpleNamespace(root_device=CUDA), global_step=avatar.steps)
    monkeypatch.setattr(experiment, "make_trainer", lambda *rest: trainer)
    place = Place("avatar", 0, avatar.steps)
    assert experiment._train(avatar.config, RunDirectory(tmp_path), StopFlag(), avatar, place)
    assert avatar.method.device == CUDA and isinstance(avatar.method.gaussians["means"], OnCuda)
