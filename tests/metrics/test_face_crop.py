from fractions import Fraction

import av
import av.filter
import numpy as np
import pytest
import torch

from talkingavatar.errors import UserError
from talkingavatar.metrics.lipsync.crop import GREY, CropTrack, _resize, crop_track, detector_boxes, to_25fps


def boxes(count=30, side=100.0, x=160.0, y=120.0):
    return np.tile(np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2]), (count, 1))


def test_a_face_that_stands_still_keeps_its_box_to_the_ends():
    track = crop_track(boxes())
    assert (track.half == 50).all() and (track.x == 160).all() and (track.y == 120).all()
    assert track.mean_side == 100


@pytest.mark.parametrize("count", [1, 2, 5, 6, 7, 12])
def test_a_short_clip_is_not_outvoted_by_the_zeros_beyond_its_ends(count):
    track = crop_track(boxes(count))
    assert (track.half == 50).all() and (track.x == 160).all()


def test_the_longer_side_counts():
    flat = np.tile(np.array([0.0, 10, 60, 50]), (20, 1))
    track = crop_track(flat)
    assert (track.half == 30).all() and (track.y == 30).all()


def test_unseen_faces_are_interpolated():
    moving = boxes(41)
    moving[:, [0, 2]] += np.arange(41)[:, None]
    gone = moving.copy()
    gone[10:30] = np.nan
    np.testing.assert_allclose(crop_track(gone).x, crop_track(moving).x)


def test_a_jump_of_six_frames_is_taken_out_and_one_of_seven_is_not():
    for length, seen in ((6, False), (7, True)):
        jumping = boxes(60)
        jumping[20 : 20 + length] += 40
        assert (crop_track(jumping).x > 180).any() == seen


def test_the_crop_is_the_published_square():
    """2.8 half sizes wide about the centre, from the face's top to 1.8 half sizes below the centre."""
    frame = np.zeros((400, 400, 3), np.uint8)
    track = CropTrack(np.array([80.0]), np.array([200.0]), np.array([180.0]))
    frame[100 : 100 + 224, 88 : 88 + 224] = np.random.default_rng(0).integers(0, 255, (224, 224, 3), np.uint8)
    np.testing.assert_array_equal(track.crop(frame, 0), frame[100 : 100 + 224, 88 : 88 + 224])


def test_outside_the_picture_is_grey():
    frame = np.full((300, 300, 3), 7, np.uint8)
    crop = CropTrack(np.array([80.0]), np.array([20.0]), np.array([20.0])).crop(frame, 0)
    assert (crop[:, :90] == GREY).all() and (crop[:58] == GREY).all() and (crop[62:, 94:] == 7).all()


def test_resizing_doubles_between_pixel_centres():
    """A ramp stays a ramp of half the slope; its pixels are left where OpenCV's bilinear leaves them."""
    frame = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 200, 0).repeat(3, 2)
    crop = CropTrack(np.array([40.0]), np.array([100.0]), np.array([100.0])).crop(frame, 0)
    expected = 44 + (np.arange(224) + 0.5) / 2 - 0.5
    assert np.abs(crop[50, 1:-1, 0] - expected[1:-1]).max() <= 0.5


@pytest.mark.parametrize(
    ("given", "message"),
    [(np.full((5, 4), np.nan), "no face"), (np.zeros((0, 4)), "no face"), (boxes(9, side=0.5), "frame 0")],
)
def test_what_shows_no_face_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        crop_track(given)


def test_a_face_beside_the_picture_is_refused():
    with pytest.raises(UserError, match="inside the picture"):
        crop_track(boxes(x=5000)).crop(np.zeros((100, 100, 3), np.uint8), 3)


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30), Fraction(50), Fraction(24), Fraction(30_000, 1001)])
def test_25_fps_as_ffmpeg_makes_it(fps):
    frames = 77
    assert to_25fps(frames, float(fps)) == through_ffmpeg(frames, fps)


def through_ffmpeg(frames, fps):
    """Numbers of the frames that ffmpeg's own filter shows; each is a picture of its number."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=16, height=16, format="gray", time_base=1 / fps)
    graph.link_nodes(source, graph.add("fps", "fps=25"), graph.add("buffersink")).configure()
    for number in range(frames):
        picture = av.VideoFrame.from_ndarray(np.full((16, 16), number, np.uint8), format="gray")
        picture.pts, picture.time_base, picture.duration = number, 1 / fps, 1
        graph.push(picture)
    graph.push(None)
    shown = []
    while True:
        try:
            shown.append(int(graph.pull().to_ndarray()[0, 0]))
        except (av.BlockingIOError, av.EOFError):
            return shown


def test_a_face_box_goes_from_forehead_to_chin():
    marks = np.zeros((1, 68, 3), np.float32)
    marks[0, :17, 0], marks[0, :17, 1] = np.linspace(10, 90, 17), 120.0
    marks[0, 17:27, :2] = 50, 40
    marks[0, 27:, :2] = 50, 60
    assert detector_boxes(marks)[0].tolist() == [10, 20, 90, 120]


def test_a_crop_is_the_same_with_any_number_of_threads():
    before, draw = torch.get_num_threads(), np.random.default_rng(0)
    pictures = [draw.integers(0, 256, (*draw.integers(40, 300, 2), 3)).astype(np.uint8) for _ in range(20)]
    made = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            made.append([_resize(picture) for picture in pictures])
    finally:
        torch.set_num_threads(before)
    for crops in zip(*made, strict=True):
        np.testing.assert_array_equal(crops[0], crops[1])
        np.testing.assert_array_equal(crops[0], crops[2])
