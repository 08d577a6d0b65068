"""Figures that were measured stand as long as nothing they come from has changed."""

from talkingavatar.config.protocol import Condition
from talkingavatar.engine.measuring.evaluate import driver_digest
from talkingavatar.engine.run.directory import RunDirectory


def test_a_driver_trained_on_is_measured_anew(tmp_path):
    run, spoken, tracked = RunDirectory(tmp_path), Condition(spoken=True), Condition()
    assert driver_digest(run, spoken) == driver_digest(run, tracked) == []
    run.driver.write_bytes(b"driver")
    before = driver_digest(run, spoken)
    run.driver.write_bytes(b"driver, trained on")
    assert before and driver_digest(run, spoken) not in (before, [])
    assert driver_digest(run, tracked) == []
