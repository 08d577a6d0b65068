"""Blinks that a tracker has missed are told by the lids' landmarks."""

from dataclasses import replace

import pytest
import torch

from talkingavatar.body.models import load_body
from talkingavatar.data.lids import ACTIONS, missed_blinks
from tests.data.portraits import detected, portrait

FRAMES = 120
BLINK = torch.tensor([0.4, 0.9, 1.0, 0.7, 0.3])
SEEN, MISSED, HALF = 20, 50, 80  # where blinks begin


@pytest.fixture(scope="module")
def body():
    return load_body("open_flame")


@pytest.fixture(scope="module")
def blinking(body):
    """A head that turns a little and blinks three times."""
    pose = body.zero_pose(FRAMES)
    turned = torch.randn(FRAMES, 3, generator=torch.Generator().manual_seed(0))
    pose.full_pose[:, body.joint_names.index("head")] = 0.05 * turned
    for start in (SEEN, MISSED, HALF):
        pose.expression[start : start + len(BLINK), lids(body)] = BLINK[:, None]
    return pose


def lids(body):
    return [body.expression_names.index(name) for name in ACTIONS]


def wrong(body, true, expression):
    """How far off the worse lid is in each frame."""
    return (expression - true.expression)[:, lids(body)].abs().amax(1)


def tracked(body, pose):
    expression = pose.expression.clone()
    expression[MISSED : MISSED + len(BLINK)] *= 0.2
    expression[HALF : HALF + len(BLINK)] *= 0.5
    return replace(pose, expression=expression)


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_what_was_missed_is_made_up_for_and_nothing_else(body, blinking, noise):
    seen = tracked(body, blinking)
    missed = missed_blinks(body, seen, detected(body, blinking, noise), portrait(body, FRAMES))
    found = missed.apply(seen, range(FRAMES)).expression
    shut = [start + frame for start in (MISSED, HALF) for frame in (1, 2, 3)]
    assert wrong(body, blinking, seen.expression)[shut].min() > 0.3
    assert wrong(body, blinking, found)[shut].max() < 0.25
    others = [frame for frame in range(FRAMES) if not any(0 <= frame - start < 5 for start in (MISSED, HALF))]
    assert torch.equal(found[others], seen.expression[others])
    assert found[:, lids(body)].max() <= 1
    assert torch.equal(missed.apply(seen[shut], shut).expression, found[shut])


def test_an_eye_that_is_not_seen_tells_nothing(body, blinking):
    marks = detected(body, blinking, 0.0)
    marks[MISSED + 1, 36] = 0
    marks[MISSED + 2, 36:42, :2] = 0.3 * marks[MISSED + 2, 36:42, :2] + 0.7 * marks[MISSED + 2, 36:37, :2]
    amounts = missed_blinks(body, tracked(body, blinking), marks, portrait(body, FRAMES)).amounts
    assert (amounts[MISSED + 1 : MISSED + 3] == 0).all() and amounts[MISSED + 3] > 0


def test_a_body_without_lids_has_none(body, blinking, monkeypatch):
    monkeypatch.setattr(body, "expression_names", [f"component_{i}" for i in range(len(body.expression_names))])
    assert missed_blinks(body, blinking, torch.ones(FRAMES, 68, 3), portrait(body, FRAMES)) is None
