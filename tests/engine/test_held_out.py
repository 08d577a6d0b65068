"""What the ground truth tells every measurement, on a small embedded speaker."""

import numpy as np
import pytest

from talkingavatar.body.models import load_body
from talkingavatar.config.compose import compose
from talkingavatar.engine.build import build_data
from talkingavatar.engine.measuring.held_out import held_out, stretches
from talkingavatar.errors import UserError


@pytest.fixture(scope="module")
def data(cache):
    return build_data(compose(["data.seconds=6", "data.size=96", "trainer.progress=false"]))


def test_stretches_end_at_cuts_and_gaps():
    assert stretches([5, 6, 7, 9, 10, 11, 12], [(0, 11), (11, 20)]) == [(0, 3), (3, 5), (5, 7)]
    assert stretches([3, 4], [(0, 20)]) == [(0, 2)]


def test_the_sound_is_that_of_the_frames(data):
    held = held_out(data, load_body("open"))
    first = held.frames[0]
    assert held.frames == data.capture.test_frames and held.shots == [(0, len(held.frames))]
    assert np.array_equal(held.sound, data.capture.audio[first * 640 : (held.frames[-1] + 1) * 640])


def test_head_and_neck_hold_the_head_and_leave_the_shoulders(data):
    held = held_out(data, load_body("open"))
    body = load_body("open")
    _, joints = body(held.pose)
    names = body.joint_names
    for i, frame in enumerate(held.frames[:3]):
        x0, y0, x1, y1 = held.boxes[i]["head_neck"]
        head = held.boxes[i]["head"]
        grown = 0.1 * (y1 - y0)  # by the image metrics
        assert y0 - grown < head[1] and x0 - grown < head[0] and x1 + grown > head[2]
        assert (y1 - y0) == pytest.approx(x1 - x0)
        K, view = data.capture.Ks[0, frame], data.capture.viewmats[0, frame]
        seen = (view[:3, :3] @ joints[i].T.numpy() + view[:3, 3:]).T
        y = seen[:, 1] / seen[:, 2] * K[1, 1] + K[1, 2]
        shoulder = min(y[names.index("left_shoulder")], y[names.index("right_shoulder")])
        assert y[names.index("neck")] < y1 + grown < shoulder + 0.02 * 96


def test_places_of_the_skin_are_inside_the_matte(data):
    held = held_out(data, load_body("open"))
    places = held.skin[0]
    seen = places[np.isfinite(places).all(-1)].astype(int)
    assert 50 < len(seen) <= len(places)
    matte = data.capture.matte(held.frames[0])
    inside = matte[seen[:, 1], seen[:, 0]] > 128
    assert inside.mean() > 0.97


def test_the_digest_knows_what_is_measured(data):
    body = load_body("open")
    assert held_out(data, body).digest() == held_out(data, body).digest()
    assert held_out(data, body).digest() != held_out(data, body, 26).digest()


def test_too_few_frames_are_refused(data):
    with pytest.raises(UserError, match="at least 25"):
        held_out(data, load_body("open"), 10)
