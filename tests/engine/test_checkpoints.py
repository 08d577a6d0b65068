"""When a fit saves: by steps or by the clock, at its end and on a signal."""

from types import SimpleNamespace

import lightning as L
import pytest

from talkingavatar.engine.loop import callbacks
from talkingavatar.engine.loop.callbacks import AGREED, CLOCK, Checkpoints, Place
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.runtime.signals import StopFlag


class Trainer(L.Trainer):
    """What a callback sees of one."""

    global_step = 0
    max_steps = 0
    world_size = 1
    is_global_zero = True
    strategy = None

    def __init__(self, steps, processes, strategy):
        self.max_steps, self.world_size, self.strategy = steps, processes, strategy
        self.should_stop = False


def run(monkeypatch, tmp_path, every, seconds, steps=60, stop_after=None, others=()):
    """The steps at which a fit saves whose steps take so many seconds each.

    `others`: for each step, what another process that shares them wants; none: there is no other.
    """
    now, saved = SimpleNamespace(at=0.0), []
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: now.at))
    monkeypatch.setattr(callbacks.checkpoint, "save", lambda trainer, file: saved.append(trainer.global_step))
    told = RunDirectory(tmp_path)
    saver = Checkpoints(told, tmp_path / "avatar.ckpt", StopFlag(), every, stop_after, Place("avatar", 0, steps))
    asked: list[int] = []

    def any_of(mine: bool, all: bool) -> bool:
        asked.append(trainer.global_step)
        return mine or trainer.global_step in others

    strategy = SimpleNamespace(broadcast=lambda step: step, reduce_boolean_decision=any_of)
    trainer = Trainer(steps, 2 if others else 1, strategy)
    saver.flag.install = lambda: None
    saver.on_train_start(trainer, L.LightningModule())
    while trainer.global_step < steps and not trainer.should_stop:
        trainer.global_step, now.at = trainer.global_step + 1, now.at + seconds
        saver.on_train_batch_end(trainer)
    return saved, asked


def test_by_the_clock_quick_steps_are_saved_seldom_and_slow_ones_often(monkeypatch, tmp_path):
    assert run(monkeypatch, tmp_path, 0, CLOCK / 1000)[0] == [60]
    assert run(monkeypatch, tmp_path, 0, CLOCK / 20)[0] == [20, 40, 60]
    assert run(monkeypatch, tmp_path, 0, 2 * CLOCK, steps=3)[0] == [1, 2, 3]


def test_by_steps_the_clock_does_not_count(monkeypatch, tmp_path):
    assert run(monkeypatch, tmp_path, 25, CLOCK)[0] == [25, 50, 60]
    assert run(monkeypatch, tmp_path, 25, CLOCK, stop_after=30)[0] == [25, 30]


@pytest.mark.parametrize("every", [0, 25])
def test_processes_agree_now_and_then(monkeypatch, tmp_path, every):
    """A wish of one is heard by all at the same step, and none waits for the others at every step."""
    saved, asked = run(monkeypatch, tmp_path, every, 0.0, others=[3, AGREED * 2])
    assert saved == [AGREED * 2]
    assert set(asked) == {AGREED, AGREED * 2}
