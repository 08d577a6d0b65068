import json

import numpy as np
import pytest

from talkingavatar.errors import UserError
from talkingavatar.preprocessing.keypoints import BODY, CONTOUR, INNER_FACE, LEFT_HAND, RIGHT_HAND
from talkingavatar.preprocessing.landmarks.openpose import OpenPose
from tests.preprocessing.stills import blank, quietly


def person(scale=1.0, start=0):
    """Point k of a part at (start + k, 2k) times scale."""

    def part(count):
        return [n for k in range(count) for n in (scale * (start + k), scale * 2 * k, 0.5)]

    return {"pose_keypoints_2d": part(25), "face_keypoints_2d": part(70),
            "hand_left_keypoints_2d": part(21), "hand_right_keypoints_2d": part(21)}  # fmt: skip


def write(folder, frames):
    for index, people in enumerate(frames):
        content = {"version": 1.3, "people": people}
        (folder / f"clip_{index:012d}_keypoints.json").write_text(json.dumps(content))


def read(folder, frames, **more):
    return OpenPose(folder, **more).detect(blank(frames), folder, quietly).keypoints


def test_parts_are_put_in_order(tmp_path):
    write(tmp_path, [[person()]])
    found = read(tmp_path, 1)
    for part, first, count in (
        (BODY, 0, 25),
        (LEFT_HAND, 0, 21),
        (RIGHT_HAND, 0, 21),
        (INNER_FACE, 17, 51),
        (CONTOUR, 0, 17),
    ):
        np.testing.assert_allclose(found.points[0, part, 0], first + np.arange(count))
    assert found.iris[0, :, 0].tolist() == [69, 68] and (found.points[0, :, 2] == 0.5).all()
    assert np.isnan(found.mesh[..., :2]).all() and found.faces.tolist() == [1]


def test_the_largest_person_is_taken_and_others_are_told(tmp_path):
    write(tmp_path, [[person(0.5), person(2.0)], [person(2.0), person(1.5)], []])
    found = read(tmp_path, 3)
    assert found.faces.tolist() == [1, 2, 0]
    assert found.points[0, 24, 0] == found.points[1, 24, 0] == 48
    assert np.isnan(found.points[2, :, 0]).all() and (found.points[2, :, 2] == 0).all()


def test_unseen_points_are_gaps_and_absent_parts_too(tmp_path):
    half = person()
    half["pose_keypoints_2d"][3:6] = [0, 0, 0]
    del half["hand_left_keypoints_2d"]
    half["hand_right_keypoints_2d"] = []
    write(tmp_path, [[half]])
    points = read(tmp_path, 1).points[0]
    gaps = np.isnan(points[:, 0])
    assert gaps[1] and gaps[LEFT_HAND].all() and gaps[RIGHT_HAND].all() and gaps.sum() == 43
    assert (points[gaps, 2] == 0).all()


def test_a_crop_moves_the_points(tmp_path):
    write(tmp_path, [[person()]])
    np.testing.assert_allclose(read(tmp_path, 1, origin=(3.0, 5.0)).points[0, 10, :2], [7, 15])


@pytest.mark.parametrize(
    "content", ["{", '{"persons": []}', '{"people": [{"pose_keypoints_2d": [1, 2, 3]}]}'], ids=["json", "key", "count"]
)
def test_a_foreign_file_is_one_clear_line(tmp_path, content):
    (tmp_path / "a_keypoints.json").write_text(content)
    with pytest.raises(UserError, match=r"a_keypoints\.json"):
        read(tmp_path, 1)


def test_the_number_of_files_must_be_the_clips(tmp_path):
    write(tmp_path, [[person()]] * 2)
    with pytest.raises(UserError, match=r"2 JSON files.*3, one per frame"):
        read(tmp_path, 3)
