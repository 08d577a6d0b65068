import numpy as np
import pytest

from talkingavatar.errors import UserError
from talkingavatar.preprocessing.numbering import Things, clocks_of, numbers_in, ranges

FILES = Things("landmarks", "some files", "{}, one per frame", "run it again")
TABLE = Things("landmarks", "rows", "1 to {}", "run it again", usual=1)
OWN = clocks_of(range(100), 100, 25.0, 25.0)
THINNED = clocks_of(range(0, 200, 2), 200, 50.0, 25.0)
FIFTY_TO_THIRTY = [round(k * 5 / 3) for k in range(60)]


def gaps(placed):
    return ranges(np.flatnonzero(placed.rows < 0).tolist())


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["frame9", "frame10"], [9, 10]),
        (["v2_00007_kp_25", "v2_00008_kp_25"], [7, 8]),
        (["1_of_2_a", "2_of_2_b"], [1, 2]),
        (["a", "b"], None),
        (["a_1", "a_99999999999999999999"], None),
        (["77777777777777777777_1", "88888888888888888888_2"], [1, 2]),
        (["take²", "take³"], None),
    ],
)
def test_the_number_that_tells_names_apart(names, numbers):
    assert numbers_in(names) == numbers


@pytest.mark.parametrize("things", [FILES, TABLE])
@pytest.mark.parametrize(
    ("numbers", "absent"),
    [
        (range(100), ""),
        (range(1, 101), ""),
        (range(700, 800), ""),
        (range(99, -1, -1), ""),
        (range(95), "95-99"),
        ([*range(40), *range(50, 100)], "40-49"),
        (range(1, 96), "95-99"),
        (range(6, 101), "0-4"),
    ],
)
def test_each_thing_stands_where_its_number_says(things, numbers, absent):
    placed = things.place(list(numbers), OWN)
    assert gaps(placed) == absent and placed.believed.get("absent_frames", "") == absent
    there = placed.rows[placed.rows >= 0]
    assert (np.diff(np.array(list(numbers))[there]) > 0).all()


def test_what_cannot_be_known_is_said():
    """Either the first file is absent or the last one: OpenPose counts from 0, OpenFace from 1."""
    files, table = (things.place(list(range(1, 100)), OWN) for things in (FILES, TABLE))
    assert gaps(files) == "0" and "nothing tells the first number" in files.warnings[-1]
    assert gaps(table) == "99" and len(table.warnings) == 1


@pytest.mark.parametrize(
    ("numbers", "rate", "rows"),
    [
        (range(100), None, range(100)),  # of the thinned frames
        (range(200), None, range(0, 200, 2)),  # of the video's
        (range(1, 202), 50.0, range(0, 200, 2)),  # programs disagree about the last picture
        (range(1, 101), 25.0, range(100)),
        (range(0, 200, 2), None, range(100)),  # named by the video's pictures
        (range(400), 100.0, range(0, 400, 4)),  # of a copy at another rate
    ],
)
def test_things_of_a_faster_video_are_thinned_with_its_frames(numbers, rate, rows):
    assert FILES.place(list(numbers), THINNED, rate).rows.tolist() == list(rows)


def test_a_part_of_a_video_and_uneven_thinning():
    part = clocks_of(range(30, 90), 200, 25.0, 25.0)
    assert FILES.place(list(range(60)), part).rows.tolist() == list(range(60))
    assert FILES.place(list(range(200)), part).rows.tolist() == list(range(30, 90))
    uneven = clocks_of(FIFTY_TO_THIRTY, 100, 50.0, 30.0)
    assert FILES.place([n + 1 for n in FIFTY_TO_THIRTY], uneven).rows.tolist() == list(range(60))
    assert FILES.place(list(range(100)), uneven).rows.tolist() == FIFTY_TO_THIRTY


@pytest.mark.parametrize("numbers", [range(50), range(110, 170), range(400)])
def test_what_fits_no_count_is_refused_with_all_that_would(numbers):
    with pytest.raises(UserError, match=r"expected 100, one per frame, or 200 \(pictures of the video\)"):
        FILES.place(list(numbers), THINNED)
