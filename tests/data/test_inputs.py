import torch

from talkingavatar.config.compose import compose
from talkingavatar.config.schema import INPUTS
from talkingavatar.data.datamodule import JAW
from talkingavatar.data.inputs import INPUTS as TABLE
from talkingavatar.data.inputs import Rest, change, moved, reposed, withheld
from talkingavatar.engine.build import build_data

OVERRIDES = ["data.seconds=2", "data.size=64", "trainer.progress=false"]


def test_each_input_is_withheld_and_nothing_else(cache):
    data = build_data(compose(OVERRIDES))
    frame = int(data.features.flatten(1).std(1).argmax())  # somewhere in a word
    given = data.signal([frame])
    deaf, blank, shut = (data.signal([frame], [name]) for name in ("audio", "expression", "jaw"))
    assert torch.equal(deaf.pose.expression, given.pose.expression)
    assert torch.equal(deaf.audio[0, 0], deaf.audio[0, 7]) and torch.equal(deaf.audio[0, 0], data.quiet)
    assert not torch.equal(given.audio[0, 4], data.quiet)
    assert given.pose.expression.abs().max() > 0 and blank.pose.expression.abs().max() == 0
    assert torch.equal(blank.pose.full_pose, given.pose.full_pose) and torch.equal(blank.audio, given.audio)
    assert shut.pose.full_pose[0, JAW["smplx"]].abs().max() == 0
    others = [j for j in range(55) if j != JAW["smplx"]]
    assert torch.equal(shut.pose.full_pose[:, others], given.pose.full_pose[:, others])


def test_a_run_that_never_had_an_input_is_not_driven_by_it(cache):
    data = build_data(compose([*OVERRIDES, "experiment=thgs_wo_expression"]))
    assert data.batch([3]).signal.pose.expression.abs().max() == 0


def test_nothing_withheld_changes_nothing(cache):
    data = build_data(compose(OVERRIDES))
    signal = data.signal([3])
    same = withheld(signal, (), Rest(data.quiet, JAW[data.model]))
    assert torch.equal(same.audio, signal.audio) and torch.equal(same.pose.expression, signal.pose.expression)


def test_action_units_are_of_the_recorded_pose(cache):
    signal = build_data(compose(OVERRIDES)).signal([3, 4])
    assert signal.actions.shape == (2, 17) and 0 < signal.actions.max() <= 5
    assert reposed(signal, signal.pose).actions is None


def test_the_configuration_knows_every_input():
    assert set(INPUTS) == set(TABLE)


def test_what_moves_is_followed(cache):
    """From one frame to the next in one step, and half of the way in half of it; sound has no way."""
    data = build_data(compose(OVERRIDES))
    now, later = data.signal([3]), data.signal([4])
    motion = change(now, later, 1)
    torch.testing.assert_close(moved(now, motion, 1.0).pose.full_pose, later.pose.full_pose)
    torch.testing.assert_close(2 * moved(now, motion, 0.5).pose.transl, now.pose.transl + later.pose.transl)
    assert moved(now, motion, 1.0).audio is now.audio
