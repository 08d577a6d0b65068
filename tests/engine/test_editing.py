"""A face made to do what a prompt asks: both rules in closed form, and curves of action units in and out."""

from copy import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from talkingavatar.body.action_units import NAMES, NamedFace
from talkingavatar.body.lips import LipRuler
from talkingavatar.body.models import load_body
from talkingavatar.data.prompts.ask import Ask, track_of
from talkingavatar.drivers.unit_edit import ALPHA, BETA
from talkingavatar.engine.performing.editing import Edit, edited, named_face, open_edit
from talkingavatar.engine.performing.unit_curves import UnitCurves, write_units
from talkingavatar.errors import UserError
from talkingavatar.types import DrivingSignal

FRAMES, FPS = 12, 25.0


@pytest.fixture(scope="module")
def head(cache):
    return load_body("open_flame")


@pytest.fixture
def spoken(head):
    """Speech: every action a little, the jaw more; with a latent of what was recorded."""
    pose = head.zero_pose(FRAMES)
    pose.expression[:] = 0.1 + 0.02 * torch.arange(FRAMES)[:, None]
    pose.full_pose[:, head.joint_names.index("jaw"), 0] = 0.05 * torch.arange(FRAMES) / FRAMES
    return DrivingSignal(torch.full((FRAMES,), -1), pose, latent=torch.zeros(FRAMES, 3))


def of(head, signal, name):
    face = NamedFace(head)
    return face.read(signal.pose)[:, face.names.index(name)]


def test_a_face_does_at_least_what_is_asked_and_the_lips_still_speak(head, spoken):
    opened = open_edit(Edit("very happy"))
    after = edited(spoken, head, opened.track(FPS, FRAMES), opened.rule)
    assert after.latent is None  # it would tell of the recorded face
    np.testing.assert_allclose(of(head, after, "mouthSmileLeft"), 0.98, atol=1e-5)
    np.testing.assert_allclose(of(head, after, "mouthFrownLeft"), 0.02 * of(head, spoken, "mouthFrownLeft"), atol=1e-5)
    ruler = LipRuler(head)
    np.testing.assert_allclose(ruler.of_body(after.pose), ruler.of_body(spoken.pose), atol=2e-4)  # metres
    for untouched in ("mouthFunnel", "eyeBlinkLeft", "mouthLowerDownLeft"):
        np.testing.assert_allclose(of(head, after, untouched), of(head, spoken, untouched), atol=1e-6)
    weak = edited(spoken, head, track_of([Ask(raised={"AU12": 0.5})], FPS, FRAMES))
    np.testing.assert_allclose(of(head, weak, "mouthSmileLeft"), of(head, spoken, "mouthSmileLeft"), atol=1e-6)


def test_what_is_asked_of_the_jaw_itself_is_done(head, spoken):
    after = edited(spoken, head, track_of([Ask(raised={"AU26": 4.0})], FPS, FRAMES))
    np.testing.assert_allclose(of(head, after, "jawOpen"), 0.8, atol=1e-5)
    assert torch.equal(after.pose.expression, spoken.pose.expression)  # the joint does it


def test_the_published_rule_scales_and_wakes_nothing(head, spoken):
    resting = edited(spoken, head, track_of([Ask(calmed={"AU09": 1.0})], FPS, FRAMES))
    track = track_of([Ask(raised={"AU12": 0.1, "AU09": 5.0})], FPS, FRAMES)
    after = edited(resting, head, track, "published")
    for name, factor in {"mouthSmileRight": 1 + ALPHA, "browInnerUp": 1 - BETA, "jawOpen": 1 - BETA}.items():
        np.testing.assert_allclose(of(head, after, name), factor * of(head, resting, name), atol=1e-5)
    assert not of(head, after, "noseSneerLeft").any()


def test_units_go_out_and_come_in_as_openfaces_csv(head, spoken, tmp_path):
    units = NamedFace(head).units(spoken.pose)
    write_units(tmp_path / "au.csv", units, FPS)
    curves = open_edit(Edit(au=tmp_path / "au.csv")).curves
    track = curves.track(FPS, FRAMES + 5)
    np.testing.assert_allclose(track.raised[:FRAMES].mean(2), units, atol=1e-3)
    assert not track.raised[FRAMES + 1 :].any() and not track.calmed[FRAMES + 1 :].any()
    assert not track.calmed[:, NAMES.index("AU26")].any() and track.calmed[0, NAMES.index("AU12")].all()
    still = edited(spoken, head, track_of([], FPS, FRAMES))
    calm = DrivingSignal(still.frame, head.zero_pose(FRAMES))
    moved = edited(calm, head, curves.track(FPS, FRAMES))
    np.testing.assert_allclose(NamedFace(head).units(moved.pose)[:, :14], units[:, :14], atol=2e-3)
    half = curves.track(2 * FPS, 2 * FRAMES)  # another clock: the same seconds
    np.testing.assert_allclose(half.raised[::2], track.raised[:FRAMES], atol=1e-9)


HEAD = "frame, timestamp, success, AU12_r, AU12_c\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "No such file"),
        ("frame, AU12_c\n1, 1\n", "no column AU01_r to AU45_r"),
        (HEAD, "no rows"),
        (f"{HEAD}1, 0, 1, 7.5, 1\n", "AU12_r of 7.5; expected intensities from 0 to 5"),
        (f"{HEAD}1, 0, 1, much, 1\n", "no number in AU12_r"),
        (f"{HEAD}1, 0, 0, 2, 1\n", "no number in AU12_r"),
        (f"{HEAD}1, 0.1, 1, 2, 1\n2, 0.1, 1, 2, 1\n", "timestamp of row 2 is not after"),
        (f"{HEAD}1, 0.1, 1\n", "cells in line 2"),
        ("\0\0", "no text"),
    ],
)
def test_a_csv_that_is_none(tmp_path, content, expected):
    file = tmp_path / "au.csv"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=rf"^au: found .*au\.csv: .*{expected}.*OpenFace"):
        UnitCurves(file)


def test_gaps_are_bridged(tmp_path):
    (tmp_path / "a.csv").write_text("frame,success,AU04_r\n1,1,1\n2,0,0\n3,1,3\n")
    raised = UnitCurves(tmp_path / "a.csv").track(FPS, 3).raised[:, NAMES.index("AU04"), 0]
    assert raised.tolist() == [1, 2, 3]


def test_mistakes_of_an_edit(head):
    assert open_edit(Edit()) is None
    for edit, expected in {
        Edit(rule="published"): "edit: found published; expected something to edit by",
        Edit("sad", rule="floors"): "edit: found 'floors'.*did you mean floor",
        Edit(au=Path("none.csv")): "au: found none.csv",
        Edit(au="AU99=1"): "au: found 'AU99'",
        Edit("xyzzy qwxz"): "emotion: found 'xyzzy qwxz'",
    }.items():
        with pytest.raises(UserError, match=expected):
            open_edit(edit)


def test_a_body_whose_expressions_have_no_names(head):
    licensed = copy(head)
    licensed.name, licensed.expression_names = "flame", ("exp_00",)
    with pytest.raises(UserError, match=r"emotion, au: found a run on flame.*body=open_flame"):
        named_face(licensed)
