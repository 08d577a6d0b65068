"""Faces that nobody filmed: what is asked, of whom, and what a hole is."""

import pytest
import torch

from talkingavatar.config.expressions import read_expressions
from talkingavatar.data.faces import Face, check_face, with_face
from talkingavatar.engine.measuring.measures.unfilmed_faces import faces_of
from talkingavatar.errors import UserError
from talkingavatar.types import BodyPose

EXPRESSIONS, JOINTS = ("smile", "blink"), ("neck", "head", "jaw", "left_eye_smplhf", "right_eye_smplhf")


def test_ours_are_known_to_the_open_bodies(cache):
    from talkingavatar.body.models import load_body

    asked = read_expressions()
    faces = list(faces_of(asked))
    assert len(asked.states) >= 20 and len(faces) == 4 * len(asked.states)
    for name in ("open", "open_flame"):
        body = load_body(name)
        for _, face in faces:
            check_face(face, body.expression_names, body.joint_names)


def test_a_face_takes_the_place_of_the_one_before():
    pose = BodyPose(torch.zeros(1, 2), torch.ones(1, 2), torch.full((1, 5, 3), 0.2), torch.zeros(1, 3))
    shown = with_face(pose, Face("f", {"blink": 0.5}, {"jaw": (0.3, 0, 0), "head": (0, 0.5, 0)}), EXPRESSIONS, JOINTS)
    assert shown.expression.tolist() == [[0, 0.5]]
    expected = torch.tensor([[0.2, 0.2, 0.2], [0.2, 0.7, 0.2], [0.3, 0, 0], [0, 0, 0], [0, 0, 0]])
    assert torch.allclose(shown.full_pose[0], expected) and (pose.full_pose == 0.2).all()


@pytest.mark.parametrize(
    ("face", "told"),
    [
        (Face("f", {"smlie": 1.0}, {}), "expressions:f: found the action 'smlie'.*did you mean smile"),
        (Face("f", {}, {"jwa": (0, 0, 0)}), "expressions:f: found the joint 'jwa'.*did you mean jaw"),
    ],
)
def test_what_a_body_does_not_have_is_named(face, told):
    with pytest.raises(UserError, match=told):
        check_face(face, EXPRESSIONS, JOINTS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("states: {mine: {actions: {smile: 2}}}", "expressions:mine.smile: found 2; expected -1.5 to 1.5"),
        ("states: {mine: {actions: {smile: .nan}}}", "expressions:mine.smile: found nan"),
        ("states: {mine: {joints: {jaw: [1, 2]}}}", r"expressions:mine.jaw: found \[1, 2\]; expected 3 numbers"),
        ("heads: {far: {head: [0, 3, 0]}}", "expressions:far.head: found 3"),
        ("strengths: [-1]", "expressions:strengths: found -1"),
        ("states: {mine: {action: {smile: 1}}}", "Key .action. not in .*states of a face"),
        ("heads: {far: 3}", "expressions:far: found 3"),
        ("states: 3", "states of a face"),
    ],
)
def test_a_mistake_in_ones_own_is_one_line(tmp_path, monkeypatch, text, told):
    file = tmp_path / "evaluate" / "expression" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    monkeypatch.setenv("TALKINGAVATAR_CONF", str(tmp_path))
    with pytest.raises(UserError, match=told) as raised:
        read_expressions()
    assert "\n" not in str(raised.value)
