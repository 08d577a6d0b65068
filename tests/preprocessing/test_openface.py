import numpy as np
import pytest

from talkingavatar.errors import UserError
from talkingavatar.preprocessing.landmarks.openface import OpenFace
from talkingavatar.preprocessing.numbering import clocks_of
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


def test_a_face_that_is_numbered_anew_is_followed(tmp_path):
    """Beside one that is seen longer than it was under any number."""
    filmed = [row(t, face=0 if t < 4 else 7) for t in range(1, 9)]
    small = [row(t, face=1) for t in range(1, 9)]
    for line in small:
        line[COLUMNS.index("x_0") : COLUMNS.index("y_67") + 1] = [400 + v / 10 for v in row(1)[117:253]]
    seen = read(write(tmp_path, [*filmed, *small]), 8)
    np.testing.assert_allclose(seen.keypoints.face68()[:, 5, 0], [5] * 8)
    assert seen.believed["face"] == "face_id 0, 7 of 3, seen in 8 rows"


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


FACE = [200.0, 300.0]  # where the rows of `large` begin


def large(frame, **more):
    return row(frame, shift=FACE[0], **more)


def text(rows, separator=",", columns=COLUMNS, cell=str):
    return "\n".join(separator.join(cell(v) for v in line) for line in [columns, *rows]) + "\n"


def set_cells(rows, name, value):
    for line in rows:
        line[COLUMNS.index(name)] = value
    return rows


@pytest.mark.parametrize(
    "content",
    [
        text([row(1), row(2)]).encode(),
        text([row(1), row(2)], " , ").replace("\n", "\r\n").encode("utf-8-sig"),
        text([row(1), row(2)], "\t").encode("utf-16"),
        text([row(1), row(2)], ",", cell='"{}"'.format).encode(),
        text([row(1), row(2)]).replace("\n", "\r").encode(),
        text(set_cells([row(1), row(2)], "success", "True")).encode(),
        text([["a", "b", *line] for line in (row(1), row(2))], columns=["", "", *COLUMNS]).encode(),
        b"sep=;\r\n" + text([row(1), row(2)], ";", cell=lambda v: str(v).replace(".", ",")).encode(),
        text([row(2), row(1), row(2, confidence=0.1, shift=9)]).encode(),
        text([row(0), row(1)]).encode(),
        text(set_cells([row(1), row(2)], "timestamp", "-nan(ind)")).encode(),
        text([[*line, ""] for line in (row(1), row(2))], columns=[*COLUMNS, ""]).encode(),
    ],
    ids=[
        "plain",
        "bom",
        "utf-16",
        "quoted",
        "old ends",
        "truth",
        "no names",
        "spreadsheet",
        "any order",
        "from 0",
        "nan(ind)",
        "last comma",
    ],
)
def test_a_table_is_read_however_it_was_written(tmp_path, content):
    (tmp_path / "clip.csv").write_bytes(content)
    seen = read(tmp_path / "clip.csv", 2)
    np.testing.assert_allclose(seen.keypoints.face68()[:, 0, 0], [0, 0])
    np.testing.assert_allclose(seen.keypoints.face68()[:, 0, 2], [0.9, 0.9])
    assert seen.believed["unit"] == "pixels of the video"


@pytest.mark.parametrize("value", ["-nan(ind)", "", "abc", "1.#IND", "inf"])
def test_a_value_that_is_none_is_a_gap_where_it_is_used(tmp_path, value):
    rows = [row(1), *set_cells([row(2)], "x_30", value), *set_cells([row(3)], "AU12_c", value), row(4)]
    seen = read(write(tmp_path, rows), 4)
    assert np.isnan(seen.keypoints.face68()[..., 0]).all(axis=1).tolist() == [False, True, False, False]


def test_columns_that_are_absent_are_said(tmp_path):
    keep = [k for k, name in enumerate(COLUMNS) if name not in ("success", "confidence", "face_id", "frame")]
    rows = [[row(t)[k] for k in keep] for t in (1, 2)]
    seen = read(write(tmp_path, rows, [COLUMNS[k] for k in keep]), 2)
    assert seen.keypoints.face68()[1, 0].tolist() == [0, 0, 1]
    assert any("no column confidence" in line for line in seen.warnings) and len(seen.warnings) == 2
    keep = [k for k, name in enumerate(COLUMNS) if not name.startswith(("x_", "y_"))]
    with pytest.raises(UserError, match="-2Dfp"):
        read(write(tmp_path, [[row(1)[k] for k in keep]], [COLUMNS[k] for k in keep]), 1)


def test_a_fast_videos_table_is_thinned_by_its_times(tmp_path):
    rows = [[t, 0, t / 50, *large(t)[3:]] for t in range(1, 56)]
    for line in rows:
        line[COLUMNS.index("x_0")] = FACE[0] + line[0] - 1
    clocks = clocks_of(range(0, 60, 2), 60, 50.0, 25.0)
    found = OpenFace(write(tmp_path, rows), None, (640, 480), clocks).detect(blank(30), tmp_path, quietly)
    first = found.keypoints.face68()[:, 0, 0]
    np.testing.assert_allclose(first[:28], FACE[0] + np.arange(0, 56, 2))
    assert np.isnan(first[28:]).all() and found.believed["absent_frames"] == "28-29"


def test_points_of_another_picture_are_refused(tmp_path):
    with pytest.raises(UserError, match="in a picture of 64x48"):
        OpenFace(write(tmp_path, [large(1)]), size=(64, 48)).detect(blank(1), tmp_path, quietly)
