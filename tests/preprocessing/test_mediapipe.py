"""The environment maker on a tiny wheel; the real trackers on the rendered speaker (skipped without an index)."""

import zipfile

import numpy as np
import pytest

from talkingavatar.config.compose import compose
from talkingavatar.data.capture import Capture
from talkingavatar.data.speaker.record import speaker_capture
from talkingavatar.errors import UserError
from talkingavatar.preprocessing.keypoints import BODY, LEFT_HAND
from talkingavatar.preprocessing.landmarks import mediapipe_source
from talkingavatar.preprocessing.landmarks.environment import python_with
from talkingavatar.preprocessing.landmarks.mediapipe_process import interpreter, track
from talkingavatar.preprocessing.landmarks.mediapipe_source import MediaPipe
from talkingavatar.preprocessing.landmarks.source import Observed, observe
from tests.preprocessing.stills import Stills, blank, quietly


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    file = tmp_path_factory.mktemp("wheels") / "pebble-1.0-py3-none-any.whl"
    about = "pebble-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("pebble.py", "weight = 3\n")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: pebble\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", f"pebble.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n")
    return file


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TALKINGAVATAR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "environments"


def test_an_environment_is_made_once(wheel, empty_cache):
    said = []
    python = python_with("pebble", [str(wheel)], "import pebble; assert pebble.weight == 3", "none", said.append)
    assert python.is_file() and len(said) == 1
    assert python_with("pebble", [str(wheel)], "import pebble", "none", said.append) == python and len(said) == 1
    assert [folder.name for folder in empty_cache.iterdir()] == [python.parent.parent.name]


def test_an_environment_that_does_not_work_is_not_kept(wheel, empty_cache):
    with pytest.raises(UserError, match="bring your own"):
        python_with("pebble", [str(wheel)], "import gravel", "bring your own")
    assert list(empty_cache.iterdir()) == []


def test_a_package_that_cannot_be_had_is_one_clear_line(tmp_path, empty_cache):
    with pytest.raises(UserError, match=r"pip install.*failed.*gravel-1\.0") as caught:
        python_with("gravel", [str(tmp_path / "gravel-1.0-py3-none-any.whl")], "import gravel", "bring your own")
    assert "\n" not in str(caught.value)
    assert list(empty_cache.iterdir()) == []


@pytest.fixture(scope="module")
def mediapipe(cache):
    try:
        return interpreter()
    except UserError as error:
        pytest.skip(f"MediaPipe cannot be installed here: {error}")


@pytest.fixture(scope="module")
def speaker(cache):
    return Capture(speaker_capture(compose(["data.seconds=2", "data.size=320"]).data, quietly))


@pytest.fixture(scope="module")
def pictures(speaker):
    return np.stack([speaker.frame(index) for index in range(0, 25, 4)])


@pytest.fixture(scope="module")
def seen(mediapipe, pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("seen")
    observe(MediaPipe(), Stills(pictures, [(0, 4), (4, len(pictures))], scale=0.5), folder, quietly)
    return Observed(folder, [(0, 4), (4, len(pictures))])


def test_face_landmarks_lie_near_the_true_ones_in_capture_pixels(speaker, pictures, seen):
    truth = speaker.landmarks(truth=True)[0:25:4]
    found = seen.keypoints.face68()
    width = np.ptp(truth[:, :17, 0], axis=1)[:, None]
    # Inner points mean the same in both; the contour slides.
    apart = np.linalg.norm(2 * found[:, 17:, :2] - truth[:, 17:, :2], axis=-1) / width
    assert np.median(apart) < 0.06 and np.isfinite(apart).all()
    assert (found[..., 2] > 0.5).all() and (seen.keypoints.faces == 1).all()


def test_sides_are_the_persons_own(seen):
    points, iris = seen.keypoints.points, seen.keypoints.iris
    assert (points[:, BODY][:, 5, 0] > points[:, BODY][:, 2, 0]).all()  # left shoulder right of the right one
    assert (iris[:, 0, 0] > iris[:, 1, 0]).all()
    eyes = points[:, 67:118]
    left, right = eyes[:, 25:31, :2].mean(axis=1), eyes[:, 19:25, :2].mean(axis=1)
    assert (np.linalg.norm(iris[:, 0, :2] - left, axis=-1) < np.linalg.norm(left - right, axis=-1) / 4).all()


def test_the_mask_is_the_person(speaker, pictures, seen):
    for index in range(len(pictures)):
        coarse, true = seen.coarse(320, 320)(index) > 127, speaker.matte(4 * index) > 127
        assert (coarse & true).sum() / (coarse | true).sum() > 0.9


def test_nobody_is_gaps(mediapipe, tmp_path):
    observe(MediaPipe(), blank(3, 128, 96), tmp_path, quietly)
    found = Observed(tmp_path, [(0, 3)]).keypoints
    assert np.isnan(found.points[..., :2]).all() and (found.points[..., 2] == 0).all()
    assert (found.faces == 0).all() and np.isnan(found.mesh[..., :2]).all()


def test_an_interrupted_run_continues(mediapipe, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(mediapipe_source, "PIECE", 2)

    class Failing(Stills):
        def source_frames(self, start=0):
            if start >= 2:
                raise OSError("the disk is gone")
            yield from super().source_frames(start)

    pictures = pictures[:4]
    whole, again = Stills(pictures, [(0, 4)]), Stills(pictures, [(0, 4)])
    with pytest.raises(OSError, match="disk"):
        observe(MediaPipe(), Failing(pictures, [(0, 4)]), tmp_path / "a", quietly)
    observe(MediaPipe(), again, tmp_path / "a", quietly)
    observe(MediaPipe(), whole, tmp_path / "b", quietly)
    assert whole.reads == [0, 2] and again.reads == [2]
    one, other = (Observed(tmp_path / name, [(0, 4)]) for name in ("a", "b"))
    np.testing.assert_array_equal(one.keypoints.points, other.keypoints.points)
    np.testing.assert_array_equal(one.masks, other.masks)


def test_the_worker_ends_with_its_reader(mediapipe, pictures):
    def endless():
        while True:
            yield pictures[0]

    records = track(endless(), mediapipe)
    first = next(records)
    assert first["mesh_score"] == 1
    process = records.gi_frame.f_locals["process"]
    records.close()
    assert process.poll() is not None


def test_an_error_of_the_frames_comes_through(mediapipe, pictures):
    def broken():
        yield pictures[0]
        raise ValueError("damaged frame")

    with pytest.raises(ValueError, match="damaged frame"):
        list(track(broken(), mediapipe))


def test_hands_that_were_not_seen_are_gaps(seen):
    hand = seen.keypoints.points[:, LEFT_HAND]
    gone = hand[:, 0, 2] == 0
    assert np.isnan(hand[gone][..., :2]).all() and np.isfinite(hand[~gone]).all()
