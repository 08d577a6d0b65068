"""When a fit saves."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from lightning import LightningModule, Trainer

from talkingavatar.config.compose import compose
from talkingavatar.engine.loop import callbacks
from talkingavatar.engine.loop.callbacks import Checkpoints, Place
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.stages.stage import Stage
from talkingavatar.runtime.signals import StopFlag
from talkingavatar.training.terms import TOTAL, Scalars

STEPS = 12


@pytest.fixture
def saves(tmp_path, monkeypatch):
    """Steps at which a fit of 12 steps, of 7 seconds each, was saved."""
    now, saved = [0.0], []
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(callbacks.checkpoint, "save", lambda trainer, file: saved.append(trainer.global_step))

    def run(*overrides, value=1.0, told=None, processes=1):
        fitted = Mock(spec=Stage, scalars=Scalars((TOTAL,), torch.tensor([value]), 0).read)
        fitted.name, flag = "avatar", StopFlag()
        monkeypatch.setattr(flag, "install", lambda: None)
        flag.signal = told
        config = compose(["tracking=none", *overrides])
        saver = Checkpoints(RunDirectory(tmp_path), fitted, flag, config, Place("avatar", 0, STEPS))
        trainer = Mock(spec=Trainer, global_step=0, max_steps=STEPS, world_size=processes, should_stop=False)
        trainer.strategy = SimpleNamespace(broadcast=lambda x: x, reduce_boolean_decision=lambda x, all: x)
        saver.on_train_start(trainer, LightningModule())
        while trainer.global_step < STEPS and not trainer.should_stop:
            now[0] += 7
            trainer.global_step += 1
            saver.on_train_batch_end(trainer)
        return saved

    return run


def test_it_saves_every_half_minute_and_at_the_end(saves):
    assert saves() == [5, 10, 12]


def test_or_every_so_many_steps(saves):
    assert saves("trainer.checkpoint_every=4", "run.stop_after=9") == [4, 8, 9]


def test_a_signal_is_heard_after_the_step_or_when_processes_ask_each_other(saves):
    assert saves(told=10) == [1]
    assert saves(told=10, processes=2) == [1, 8]


def test_what_is_not_finite_is_not_saved(saves):
    with pytest.raises(RuntimeError, match="the loss is nan at step 0"):
        saves(value=float("nan"))
