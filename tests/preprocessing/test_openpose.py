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


@pytest.mark.parametrize("unseen", [[np.nan, np.nan, 0], [None, None, None], [5.0, np.nan, 0.9]])
def test_points_that_are_no_numbers_were_not_seen(tmp_path, unseen):
    half = person()
    half["pose_keypoints_2d"][3:6] = half["face_keypoints_2d"][30:33] = unseen
    write(tmp_path, [[half]])
    gaps = np.isnan(read(tmp_path, 1).points[0, :, 0])
    assert gaps[1] and gaps[CONTOUR][10] and gaps.sum() == 2


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


SIZE = (160, 160)


def placed(folder, frames, edit=lambda people: people, name="clip_{:012d}_keypoints.json"):
    """Frame t shows the person t pixels to the right."""
    for t in frames:
        (folder / name.format(t)).write_text(json.dumps({"people": edit([person(start=t)])}))


def left(folder, frames, **more):
    """Where the nose was seen in each frame; NaN where nobody was."""
    return read(folder, frames, **more).points[:, 0, 0]


@pytest.mark.parametrize("name", ["frame{}.json", "{}_keypoints_25.JSON", "v2_{:03d}_keypoints.json"])
def test_files_are_placed_by_their_numbers(tmp_path, name):
    placed(tmp_path, [t for t in range(12) if t not in (4, 5)], name=name)
    (tmp_path / "._frame1.json").write_bytes(b"not ours")
    np.testing.assert_array_equal(left(tmp_path, 12), [t if t not in (4, 5) else np.nan for t in range(12)])


def scaled(scale, shift):
    def edit(people):
        for part in people[0].values():
            for k in range(0, len(part), 3):
                part[k], part[k + 1] = scale * part[k] + shift, scale * part[k + 1] + shift
        return people

    return edit


@pytest.mark.parametrize(
    ("scale", "shift", "unit"), [(1, 0, "pixels"), (1 / 160, 0, "shares"), (1 / 80, -1, "from -1 to 1")]
)
def test_the_unit_is_told_by_the_extent(tmp_path, scale, shift, unit):
    placed(tmp_path, range(3), scaled(scale, shift))
    seen = OpenPose(tmp_path, size=SIZE).detect(blank(3), tmp_path, quietly)
    np.testing.assert_allclose(seen.keypoints.points[:, 24, :2], [[24 + t, 48] for t in range(3)], atol=1e-3)
    assert seen.believed["unit"].startswith(unit)
    crop = OpenPose(tmp_path, (4.0, 8.0), SIZE).detect(blank(3), tmp_path, quietly)
    np.testing.assert_allclose(crop.keypoints.points[0, 24, :2], [20, 40], atol=1e-3)


@pytest.mark.parametrize("scale", [0.4, 4, 1e-5])
def test_points_that_no_unit_explains_are_refused(tmp_path, scale):
    placed(tmp_path, range(2), scaled(scale, 0))
    with pytest.raises(UserError, match=r"in a picture of 160x160.*--keypoint_scale 0"):
        read(tmp_path, 2, size=SIZE)


def test_other_models_and_older_keys(tmp_path):
    def coco(people):
        body = people[0].pop("pose_keypoints_2d")
        points = {key.replace("_2d", ""): values for key, values in people[0].items()}
        return [points | {"pose_keypoints": body[: 3 * 18]}]

    placed(tmp_path, range(1), coco)
    seen = OpenPose(tmp_path).detect(blank(1), tmp_path, quietly)
    body = seen.keypoints.points[0, BODY, 0]
    assert body[[0, 1, 7]].tolist() == [0, 1, 7] and body[[9, 15, 18]].tolist() == [8, 14, 17]
    assert body[8] == (8 + 11) / 2 and np.isnan(body[19:]).all()  # between the hips; no feet
    assert seen.believed["models"] == ["COCO"]
    whole = [n for k in range(135) for n in (k, 2 * k, 0.5)]
    placed(tmp_path, range(1), lambda people: [{"pose_keypoints_2d": whole}])
    points = read(tmp_path, 1).points[0, :, 0]
    assert points[[0, 2, 5, 16]].tolist() == [0, 6, 5, 1] and points[1] == 5.5  # between the shoulders
    assert points[LEFT_HAND][:2].tolist() == [9, 25] and points[RIGHT_HAND][:2].tolist() == [10, 45]
    assert points[CONTOUR][0] == 65 and points[INNER_FACE][0] == 82


def test_no_face_says_how_to_run_it(tmp_path):
    placed(tmp_path, range(2), lambda people: [{**people[0], "face_keypoints_2d": []}])
    with pytest.raises(UserError, match=r"face keypoints in none.*--face"):
        read(tmp_path, 2)


def test_one_person_is_followed_past_another_who_comes_near(tmp_path):
    """For two frames somebody larger stands beside; files name people in any order."""
    for t in range(9):
        people = [person(start=t)] + ([person(1.5, start=120)] if t in (4, 5) else [])
        (tmp_path / f"{t}.json").write_text(json.dumps({"people": people[:: 1 - 2 * (t % 2)]}))
    found = read(tmp_path, 9)
    assert found.points[:, 0, 0].tolist() == list(range(9))
    assert found.faces.tolist() == [1] * 4 + [2] * 2 + [1] * 3


@pytest.mark.parametrize("shape", ["list", "frames", "names"])
def test_one_file_with_all_frames(tmp_path, shape):
    frames = [{"people": [person(start=t)]} for t in range(12)]
    shapes = {"list": frames, "frames": {"frames": frames}, "names": {f"f{i}": f for i, f in enumerate(frames)}}
    (tmp_path / "all.json").write_text(json.dumps(shapes[shape]))
    assert left(tmp_path / "all.json", 12).tolist() == list(range(12))
    assert left(tmp_path, 12).tolist() == list(range(12))


@pytest.mark.parametrize(
    "content",
    ["", "null", "[]", "3", '{"people": null}', '{"people": [null]}', '{"people": [{"face_keypoints_2d": [NaN]}]}',
     '{"people": [{"face_keypoints_2d": ["a", 1, 2]}]}', "[" * 9000, '{"people": [], "people": []}'],
)  # fmt: skip
def test_a_damaged_file_among_good_ones_is_named(tmp_path, content):
    placed(tmp_path, range(3), name="{}_keypoints.json")
    (tmp_path / "1_keypoints.json").write_text(content)
    with pytest.raises(UserError, match=r"1_keypoints\.json") as caught:
        read(tmp_path, 3)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
