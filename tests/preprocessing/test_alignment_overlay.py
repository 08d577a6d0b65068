"""The overlay shows the body where the camera sees it, and the points that were seen."""

import numpy as np
import pytest
import torch

from talkingavatar.body.models import load_body
from talkingavatar.preprocessing.alignment.align import Alignment
from talkingavatar.preprocessing.alignment.overlay import DETECTED, FITTED, overlay_frames
from talkingavatar.types import BodyPose
from tests.preprocessing.performances import DISTANCE, FOCAL, SIZE, hide, seen_performance


@pytest.fixture(scope="module")
def body(cache):
    return load_body("open")


def test_body_and_points_are_drawn_where_they_are(body):
    seen = seen_performance(body, 2, noise=0.0)
    hide(seen.keypoints, slice(1, 2), slice(None))  # nothing seen in the second frame
    seen.keypoints.iris[1] = [np.nan, np.nan, 0]
    K = torch.tensor([[FOCAL * SIZE, 0, SIZE / 2], [0, FOCAL * SIZE, SIZE / 2], [0, 0, 1]])
    viewmat = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    viewmat[2, 3] = DISTANCE
    camera = seen.points @ viewmat[:3, :3].T + viewmat[:3, 3]
    pixels = (camera @ K.T)[..., :2] / camera[..., 2:]
    pose = BodyPose(*(getattr(seen.true, n).clone() for n in ("betas", "expression", "full_pose", "transl")))
    aligned = Alignment(pose, K, viewmat, pixels + torch.tensor([3.0, 0.0]), torch.zeros(137, 3), {})
    frames = [np.full((SIZE, SIZE, 3), 10, np.uint8)] * 2
    first, second = overlay_frames(iter(frames), aligned, seen.keypoints, body)

    nose = pixels[0, 0].int().tolist()
    assert tuple(first[nose[1], nose[0]]) == DETECTED and tuple(first[nose[1], nose[0] + 3]) == FITTED
    for colour in (DETECTED, FITTED):
        assert not (second == np.array(colour)).all(-1).any()
    covered = (second != 10).any(-1)
    chest = pixels[1, 1].int().tolist()
    assert covered[chest[1], chest[0]] and not covered[:20].any() and not covered[:100, :100].any()
    vertices, _ = body(pose)
    spots = vertices[1] @ viewmat[:3, :3].T + viewmat[:3, 3]
    spots = (spots @ K.T)[:, :2] / spots[:, 2:]
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    assert abs(rows[0] - spots[:, 1].min()) < 2 and abs(columns[0] - max(0, spots[:, 0].min())) < 2
    assert (frames[0] == 10).all()  # the clip's own pictures stay as they are
