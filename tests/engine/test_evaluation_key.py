"""Figures that were measured stand as long as nothing they come from has changed."""

from types import SimpleNamespace

import pytest

from talkingavatar.config.protocol import Condition
from talkingavatar.engine.evaluation.evaluate import EvaluateConfig, Measurement
from talkingavatar.engine.run import RunDirectory


@pytest.mark.parametrize(("condition", "of_driver"), [(Condition(), False), (Condition(spoken=True), True)])
def test_a_driver_trained_on_is_measured_anew(tmp_path, condition, of_driver):
    (tmp_path / "last.ckpt").write_bytes(b"avatar")
    (tmp_path / "driver.ckpt").write_bytes(b"driver")
    config = SimpleNamespace(trainer=SimpleNamespace(progress=True))
    trained = SimpleNamespace(run=RunDirectory(tmp_path), data=SimpleNamespace(config=config))
    tools = SimpleNamespace(used={}, skipped={})

    def key():
        return Measurement(EvaluateConfig(runs=()), trained, tools, lambda: None)._key(condition)

    before = key()
    assert key() == before
    (tmp_path / "driver.ckpt").write_bytes(b"driver, trained on")
    assert (key() != before) is of_driver
    (tmp_path / "last.ckpt").write_bytes(b"avatar, trained on")
    assert key() != before
