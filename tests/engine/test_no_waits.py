"""What a training step on a CUDA device launches, and that the host never waits for it (`tests.fake_cuda`)."""

from types import SimpleNamespace

import pytest

from talkingavatar.config.compose import compose
from talkingavatar.engine.loop.machine import prepare_torch
from talkingavatar.engine.stages.registry import build_stage
from talkingavatar.methods import base
from tests.conftest import TINY
from tests.fake_cuda import CUDA, Counted, FakeCuda, draw

FEW = ("driver.options.identities=[]", "trainer.progress=false", "density.min_every=1000", "density.stop=300000")


@pytest.fixture(autouse=True)
def cuda(monkeypatch):
    monkeypatch.setattr(base, "rasterise", draw)
    with FakeCuda() as device:
        yield device


def stepped(stage, device):
    """Operations of a step, its batch's included, and what the host waited for; after one that filled what is kept."""
    module, step = stage.module, stage.steps - 1  # everything has started
    strategy = SimpleNamespace(root_device=CUDA)
    stage.data.trainer = SimpleNamespace(global_rank=0, world_size=1, strategy=strategy)
    optimiser = module.configure_optimizers()
    module.requires_grad_(True)
    loader = stage.data.train_dataloader()
    for _ in range(2):
        device.waits.clear()
        loader.next_step = step
        with Counted() as counted:
            batch = module.transfer_batch_to_device(next(iter(loader)), CUDA, 0)
            module.step = step
            module.training_step(batch, 0).backward()
            optimiser.step()
            if getattr(module, "density", None) is not None:
                views = [view for frame in module._views for view in frame]
                module.density.after_step(step, module.density.seen(step, views, len(module._views)))
    return counted.launches, [*device.waits, *counted.waits]


# Launches are bounded by about a tenth above what they are: the rasteriser and data included, Adams (rate 0) not.
@pytest.mark.parametrize(
    ("experiment", "more", "most"),
    [
        ("thgs_full", [], {"avatar": 1300}),
        ("thgs_full", ["data.shutter=0.5", "data.exposure=true", "data.random_background=true"], {"avatar": 1600}),
        ("gaussianheadtalk_full", [], {"avatar": 1100, "driver": 2400}),
        ("gaussiantalker_style", [], {"avatar": 1450}),
    ],
)
def test_a_step_waits_for_nothing(cuda, cache, experiment, more, most):
    config = compose([f"experiment={experiment}", *TINY, *FEW, *more])
    prepare_torch(config)
    stages = {}
    for name in config.stages:
        stages[name] = build_stage(name, config, dict(stages))
        stages[name].module.to(CUDA)
        launches, waits = stepped(stages[name], cuda)
        print(experiment, name, stages[name].steps, len(launches))
        assert waits == [] and len(launches) < most[name]
