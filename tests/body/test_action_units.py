"""Action units and a rig's named actions, one in terms of the other."""

import numpy as np
import pytest
import torch

from talkingavatar.body.action_units import JAW_OPEN, NAMES, NamedFace, action_units, facial_actions, is_named
from talkingavatar.body.models import load_body
from talkingavatar.errors import UserError
from talkingavatar.metrics.action_units import AuEstimator


@pytest.fixture(scope="module")
def head(cache):
    return load_body("open_flame")


def test_units_to_actions_and_back(head):
    """All but AU 25 and 26 come back as they were, those at least so: a dropped jaw parts the lips."""
    units = np.random.default_rng(0).uniform(0, 5, (20, 17, 1)).repeat(2, 2)
    names = list(head.expression_names)
    again = action_units(facial_actions(units, names), names)
    for row, name in enumerate(NAMES):
        if name in ("AU25", "AU26"):
            assert (again[name] >= units[:, row, 0] - 1e-9).all()
        else:
            np.testing.assert_allclose(again[name], units[:, row, 0])


def test_one_side_moves_one_side(head):
    names = list(head.expression_names)
    units = np.zeros((1, 17, 2))
    units[0, NAMES.index("AU12"), 0] = 4.0
    units[0, NAMES.index("AU25")] = 5.0
    made = dict(zip(names, facial_actions(units, names)[0], strict=True))
    moved = {name: value for name, value in made.items() if value}
    assert moved == {"mouthSmileLeft": pytest.approx(0.8), "jawOpen": pytest.approx(0.25)}


def test_the_joint_does_what_the_jaws_action_says(head):
    assert AuEstimator(head)._open == pytest.approx(JAW_OPEN, abs=1e-3)
    face, pose = NamedFace(head), head.zero_pose(2)
    pose.full_pose[1, head.joint_names.index("jaw"), 0] = 0.1
    pose.expression[1, face.names.index("jawOpen")] = 0.2
    read = face.read(pose)
    assert read[1, face.names.index("jawOpen")] == pytest.approx(0.2 + 0.1 / JAW_OPEN) and not read[0].any()
    wanted = np.random.default_rng(1).uniform(0, 1, read.shape)
    written = face.write(pose, wanted)
    np.testing.assert_allclose(face.read(written), wanted, atol=1e-6)
    assert torch.equal(written.expression[:, face.names.index("jawOpen")], torch.tensor([0.0, 0.2]))
    assert face.units(pose)[1, NAMES.index("AU26")] == pytest.approx(5 * (0.2 + 0.1 / JAW_OPEN))


def test_actions_without_names(head):
    assert is_named(head.expression_names) and not is_named(["exp_00"])
    with pytest.raises(UserError, match=r"expression names: found no browDownLeft.*ARKit"):
        facial_actions(np.zeros((1, 17, 2)), ["exp_00"])
