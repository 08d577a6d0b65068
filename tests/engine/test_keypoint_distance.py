"""Landmark distance is what the detected points are off by, part by part."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from talkingavatar.body.keypoints import KeypointBody
from talkingavatar.config.compose import compose
from talkingavatar.engine.build import build_body, build_data, build_method
from talkingavatar.engine.loop.machine import prepare_torch
from talkingavatar.engine.measuring.measures.body_distance import keypoint_distance
from talkingavatar.geometry.cameras import project
from talkingavatar.preprocessing.keypoints import LEFT_HAND, RIGHT_HAND, Keypoints

QUIET = ["debug=one_step", "tracking=none", "trainer.progress=false"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A capture whose detector saw what was tracked, but both hands 3 px to the right."""
    speaker = build_data(compose(QUIET)).capture
    folder = Path(shutil.copytree(speaker.folder, tmp_path_factory.mktemp("seen") / "capture"))
    config = compose([*QUIET, "data=capture", f"data.path={folder}"])
    prepare_torch(config)
    data = build_data(config)
    method = build_method(config, data, build_body(config)).eval().requires_grad_(False)
    frames = list(range(data.capture.manifest.frames))
    with torch.no_grad():
        points, _ = KeypointBody(method.body)(data.capture.pose(frames))
        pixels = project(points, data.capture.cameras(frames)).numpy()
    seen = np.concatenate([pixels, np.ones((*pixels.shape[:2], 1))], -1).astype(np.float32)
    for hand in (LEFT_HAND, RIGHT_HAND):
        seen[:, hand, 0] += 3
    mesh = np.full((len(frames), 478, 3), np.nan, np.float32)
    Keypoints(seen[:, :135], seen[:, 135:], mesh, np.ones(len(frames), int)).save(folder / "keypoints.npz")
    return method, data


def test_each_part_is_off_by_what_was_planted(fitted):
    method, data = fitted
    found = keypoint_distance(method, data, data.train_frames)
    assert found["hand/tracked"] == pytest.approx(3, abs=1e-2)
    for part in ("body", "face", "lips"):
        assert found[f"{part}/tracked"] == pytest.approx(0, abs=1e-2)
    assert found["hand/fitted"] == pytest.approx(found["hand/tracked"], abs=1e-3)  # nothing was learned yet


def test_a_capture_without_keypoints_has_no_distance(fitted):
    method, _ = fitted
    data = build_data(compose(QUIET))
    assert keypoint_distance(method, data, data.train_frames) == {}
