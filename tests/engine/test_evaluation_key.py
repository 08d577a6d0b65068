"""Figures that were measured stand as long as nothing they come from has changed."""

from talkingavatar.config.compose import compose
from talkingavatar.config.protocol import Condition
from talkingavatar.engine.measuring.evaluate import driver_digest
from talkingavatar.engine.run.directory import RunDirectory


def test_a_driver_trained_on_is_measured_anew(tmp_path):
    run, spoken, tracked = RunDirectory(tmp_path), Condition(spoken=True), Condition()
    config = compose(["experiment=gaussianheadtalk_full"])
    assert driver_digest(run, config, spoken) == driver_digest(run, config, tracked) == []
    run.checkpoint("driver").write_bytes(b"driver")
    before = driver_digest(run, config, spoken)
    run.checkpoint("driver").write_bytes(b"driver, trained on")
    assert before and driver_digest(run, config, spoken) not in (before, [])
    assert driver_digest(run, config, tracked) == []
