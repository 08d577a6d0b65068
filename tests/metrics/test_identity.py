import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from talkingavatar.errors import UserError
from talkingavatar.metrics.identity import (
    FILE,
    TEMPLATE,
    FaceEmbedder,
    aligned_face,
    find_embedder,
    five_points,
    similarity,
)


def marks_with(five):
    marks = np.zeros((68, 2))
    marks[36:42], marks[42:48], marks[30], marks[48], marks[54] = five
    return marks


def write_embedder(file, pool=28):
    """Means of 4x4 patches: a picture's embedding in the published files' form."""
    picture = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, ["N", 3, 112, 112])
    answer = helper.make_tensor_value_info("683", TensorProto.FLOAT, ["N", 3 * (112 // pool) ** 2])
    nodes = [
        helper.make_node("AveragePool", ["input.1"], ["p"], kernel_shape=[pool, pool], strides=[pool, pool]),
        helper.make_node("Flatten", ["p"], ["683"]),
    ]
    graph = helper.make_graph(nodes, "embedder", [picture], [answer])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), file)


@pytest.fixture
def embedder(tmp_path, monkeypatch):
    write_embedder(tmp_path / FILE)
    monkeypatch.setenv("TALKINGAVATAR_WEIGHTS", str(tmp_path))
    return FaceEmbedder(find_embedder())


def test_a_similarity_is_recovered():
    turn = 0.4
    matrix = 2.5 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    found, move = similarity(TEMPLATE, TEMPLATE @ matrix.T + [7, -3])
    assert np.allclose(found, matrix) and np.allclose(move, [7, -3])


def test_a_face_on_the_template_is_left_as_it_is():
    torch.manual_seed(0)
    image = torch.rand(112, 112, 3)
    marks = marks_with(TEMPLATE)
    assert np.allclose(five_points(marks), TEMPLATE)
    assert torch.allclose(aligned_face(image, marks), image, atol=1e-5)


def test_the_same_face_moved_and_scaled_is_the_same_person(embedder):
    torch.manual_seed(0)
    small = torch.rand(1, 3, 7, 7)
    face, other = (
        torch.nn.functional.interpolate(picture, size=(112, 112), mode="bilinear")[0].permute(1, 2, 0)
        for picture in (small, torch.rand(1, 3, 7, 7))
    )
    wide = torch.full((300, 320, 3), 0.5)
    wide[40:264, 60:284] = face.repeat_interleave(2, 0).repeat_interleave(2, 1)
    known = embedder(face, marks_with(TEMPLATE))
    assert float(known @ known) == pytest.approx(1, abs=1e-5)
    moved = embedder(wide, marks_with(TEMPLATE * 2 + 0.5 + [60, 40]))
    assert float(known @ moved) > 0.999
    assert float(known @ embedder(other, marks_with(TEMPLATE))) < 0.9


def test_absent_it_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("TALKINGAVATAR_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    found = find_embedder()
    assert found.path is None and str(tmp_path) in found.why_skipped


def test_a_foreign_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TALKINGAVATAR_WEIGHTS", str(tmp_path))
    (tmp_path / FILE).write_bytes(b"nothing")
    with pytest.raises(UserError, match=FILE):
        FaceEmbedder(find_embedder())
