"""What a training step on a CUDA device launches, and that the host never waits for it (`tests.fake_cuda`)."""

from types import SimpleNamespace

import pytest
import torch

from talkingavatar.config.compose import compose
from talkingavatar.engine.loop.machine import prepare_torch
from talkingavatar.engine.stages.registry import build_stage
from talkingavatar.methods import base
from tests.conftest import TINY
from tests.fake_cuda import CUDA, Counted, FakeCuda, draw

FEW = ("trainer.progress=false", "density.min_every=1000", "density.stop=300000")


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
    for group in optimiser.param_groups:
        group["lr"] = 1e-3
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
                module._control(module.density)
    return counted.launches, [*device.waits, *counted.waits]


WAITS = {
    "read": lambda x: float(x[0]),
    "asked": lambda x: bool((x > 0).all()),
    "listed": lambda x: x.tolist(),
    "row by number on the device": lambda x: x[torch.ones((), device=CUDA, dtype=torch.long)],
    "rows by list": lambda x: x[[0, 1]],
    "written by list": lambda x: x.__setitem__([0, 1], 0.0),
    "rows from the CPU": lambda x: x[torch.tensor([0, 1])],
    "mask": lambda x: x[x > 0],
    "nonzero": lambda x: x.nonzero(),
    "repeated": lambda x: torch.repeat_interleave(torch.ones(3, device=CUDA, dtype=torch.long)),
    "inverse": lambda x: torch.linalg.inv(torch.eye(3, device=CUDA)),
    "made of numbers": lambda x: torch.tensor([1.0, 2.0], device=CUDA),
    "sent": lambda x: torch.ones(3).to(CUDA),
    "fetched": lambda x: x.cpu(),
}
GOES_ON = {
    "row by number": lambda x: x[1],
    "rows": lambda x: x[torch.ones(2, device=CUDA, dtype=torch.long)],
    "made there": lambda x: torch.zeros(3, device=CUDA) + x,
    "sent ahead": lambda x: torch.ones(3).pin_memory().to(CUDA, non_blocking=True),
    "a number of the host": lambda x: torch.where(x > 0.5, x, 0.0) * 3,
}


@pytest.mark.parametrize(("name", "waits"), [*((n, True) for n in WAITS), *((n, False) for n in GOES_ON)])
def test_waits_are_told(cuda, name, waits):
    values = torch.rand(3, device=CUDA)
    with Counted() as counted:
        (WAITS if waits else GOES_ON)[name](values)
    assert bool([*cuda.waits, *counted.waits]) == waits


# Launches are bounded by about a tenth above what they are: the rasteriser's stand-in and the data's included.
# What `tests.engine.test_on_cuda` has built is counted there. Of `density.by=error` it is one of the steps, of five, in
# which all is drawn again for density control: 240 launches more.
@pytest.mark.parametrize(
    ("experiment", "most"),
    [("thgs_full", 2450), ("gaussiantalker_style", 1300), ("talkinggaussian_style", 2200)],
)
def test_a_step_waits_for_nothing(cuda, cache, experiment, most):
    """Drawn twice, on a background of its own and once more for density control where the family's frames may be."""
    blurred = ["data.shutter=0.5", "data.exposure=true", "data.random_background=true"]
    more = [*blurred, "density.by=error", "budget.steps=41"] if experiment == "thgs_full" else []
    config = compose([f"experiment={experiment}", *TINY, *FEW, *more])
    prepare_torch(config)
    (name,) = config.stages
    stage = build_stage(name, config, {})
    stage.module.to(CUDA)
    launches, waits = stepped(stage, cuda)
    assert waits == [] and len(launches) < most
