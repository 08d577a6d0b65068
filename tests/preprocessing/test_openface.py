import numpy as np
import pytest

from talkingavatar.errors import UserError
from talkingavatar.preprocessing.landmarks.openface import OpenFace
from tests.preprocessing.stills import blank, quietly

COLUMNS = [
    "frame", "face_id", "timestamp", "confidence", "success",
    *(f"eye_lmk_{axis}_{k}" for axis in "xy" for k in range(56)),
    *(f"{axis}_{k}" for axis in "xy" for k in range(68)),
    "AU01_r", "AU12_r", "AU01_c", "AU12_c",
]  # fmt: skip


def row(frame, face=0, confidence=0.9, success=1, shift=0.0):
    """Landmark k at (shift + k, 2k); eye landmark k at (k, 100)."""
    eyes = [*range(56), *[100] * 56]
    points = [*(shift + k for k in range(68)), *(2 * k for k in range(68))]
    return [frame, face, frame / 25, confidence, success, *eyes, *points, 1.0, 5.0, 1, 1]


def write(folder, rows, columns=COLUMNS):
    lines = [", ".join(columns), *(", ".join(str(v) for v in r) for r in rows)]
    (folder / "clip.csv").write_text("\n".join(lines) + "\n")
    return folder / "clip.csv"


def read(file, frames):
    return OpenFace(file).detect(blank(frames), file.parent, quietly)


def test_landmarks_confidence_and_actions(tmp_path):
    seen = read(write(tmp_path, [row(1), row(2, confidence=0.7)]), 2)
    np.testing.assert_allclose(seen.keypoints.face68()[0, :, 0], np.arange(68))
    np.testing.assert_allclose(seen.keypoints.face68()[..., 2], [[0.9] * 68, [0.7] * 68])
    np.testing.assert_allclose(seen.keypoints.iris[0, :, 0], [28 + 3.5, 3.5])
    assert seen.actions.names == ["AU01", "AU12"] and seen.masks is None
    np.testing.assert_allclose(seen.actions.values, [[1.0, 5.0]] * 2)
    body_and_hands = seen.keypoints.points[:, :67]
    assert np.isnan(body_and_hands[..., :2]).all() and (body_and_hands[..., 2] == 0).all()


def test_rows_without_success_and_missing_rows_are_gaps(tmp_path):
    seen = read(write(tmp_path, [row(1), row(2, success=0), row(4)]), 4)
    assert seen.keypoints.faces.tolist() == [1, 0, 0, 1]
    gone = np.isnan(seen.keypoints.face68()[..., 0]).all(axis=1)
    assert gone.tolist() == [False, True, True, False]
    assert (seen.keypoints.points[gone, :, 2] == 0).all() and np.isnan(seen.actions.values[gone]).all()


def test_of_two_faces_the_one_seen_more_is_taken(tmp_path):
    seen = read(write(tmp_path, [row(1, face=0, shift=500), row(1, face=1), row(2, face=1)]), 2)
    assert seen.keypoints.faces.tolist() == [2, 1]
    np.testing.assert_allclose(seen.keypoints.face68()[:, 0, 0], [0, 0])


def test_no_actions_where_none_were_measured(tmp_path):
    keep = [k for k, name in enumerate(COLUMNS) if not name.startswith("AU")]
    file = write(tmp_path, [[row(1)[k] for k in keep]], [COLUMNS[k] for k in keep])
    assert read(file, 1).actions is None


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [([row(1)], COLUMNS, "frames up to 1.*1 to 2"), ([row(1), row(2)[:-1]], COLUMNS, "clip.csv"),
     ([[1, 1.0, 1]], ["frame", "confidence", "success"], "no column x_0")],
    ids=["count", "ragged", "columns"],
)  # fmt: skip
def test_a_table_that_does_not_fit_is_one_clear_line(tmp_path, rows, columns, message):
    with pytest.raises(UserError, match=message):
        read(write(tmp_path, rows, columns), 2)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read(tmp_path / "clip.csv", 1)
