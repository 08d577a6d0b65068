"""Mattes made elsewhere, in forms that other programs write."""

import av
import numpy as np
import pytest
from PIL import Image

from talkingavatar.engine.media.writer import VideoWriter
from talkingavatar.errors import UserError
from talkingavatar.preprocessing.keypoints import Keypoints
from talkingavatar.preprocessing.matte_sense import turned_right, whole_mattes
from talkingavatar.preprocessing.numbering import clocks_of
from talkingavatar.preprocessing.ready_mattes import Crop, ReadyMattes

SIZE = (32, 24)
FRAMES = 3


def coverage(frame: int) -> np.ndarray:
    """A person on the left half, half a pixel soft at the edge."""
    matte = np.zeros(SIZE[::-1], np.uint8)
    matte[4 + frame :, 8:20] = 255
    matte[4 + frame :, 20] = 128
    return matte


def sharp(frame: int) -> np.ndarray:
    return np.where(coverage(frame) > 128, 255, 0).astype(np.uint8)


def grey(frame: int) -> Image.Image:
    return Image.fromarray(coverage(frame))


def plain(value: int) -> Image.Image:
    return Image.new("L", SIZE, value)


def labels(frame: int) -> Image.Image:
    """Index 1 is dark red, as datasets of segmentation write it."""
    image = Image.fromarray((sharp(frame) > 0).astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0] + [0] * 762)
    return image


def parts(frame: int) -> Image.Image:
    """Dark and bright colours name what is seen, as programs for face parsing paint it."""
    names = (sharp(frame) > 0) * (1 + np.arange(SIZE[0]) // 14)
    return Image.fromarray(np.array([[0, 0, 0], [255, 85, 0], [60, 20, 90], [0, 128, 128]], np.uint8)[names])


FORMS = {
    "sixteen bits": (lambda t: Image.fromarray(coverage(t).astype(np.uint16) * 257), coverage),
    "transparent": (lambda t: Image.merge("RGBA", [plain(90)] * 3 + [grey(t)]), coverage),
    "opaque": (lambda t: grey(t).convert("RGBA"), coverage),
    "grey and opaque": (lambda t: Image.merge("LA", [grey(t), plain(255)]), coverage),
    "colour": (lambda t: Image.merge("RGB", [plain(0), grey(t), plain(0)]), coverage),
    "0 and 1": (lambda t: Image.fromarray(sharp(t) // 255), sharp),
    "0 and 128": (lambda t: Image.fromarray(sharp(t) // 255 * 128), sharp),
    "one bit": (lambda t: Image.fromarray(sharp(t)).convert("1"), sharp),
    "labels": (labels, sharp),
    "colours of parts": (lambda t: parts(t), sharp),
    "palette of greys": (lambda t: grey(t).convert("P"), coverage),
    "inverted": (lambda t: Image.fromarray(255 - coverage(t)), coverage),
}


def seen(frames=FRAMES) -> Keypoints:
    """A face inside the person."""
    points = np.full((frames, 135, 3), (14.0, 12.0, 1.0), np.float32)
    nothing = np.full((frames, 478, 3), np.nan, np.float32)
    return Keypoints(points, nothing[:, :2], nothing, np.ones(frames, int))


def write(folder, pictures, name="{}.png"):
    for index, picture in enumerate(pictures):
        picture.save(folder / name.format(index))


def read(path, frames=FRAMES, **more):
    ready, told = turned_right(ReadyMattes(path, frames, SIZE, SIZE, **more), seen(frames))
    return list(whole_mattes(ready, seen(frames))), told


@pytest.mark.parametrize("form", FORMS)
def test_the_coverage_is_found_in_every_form(tmp_path, form):
    make, true = FORMS[form]
    write(tmp_path, map(make, range(FRAMES)))
    found, told = read(tmp_path)
    np.testing.assert_allclose(found, [true(t) for t in range(FRAMES)], atol=1)
    assert (told is not None) == (form == "inverted")


@pytest.mark.parametrize("name", ["m{}.png", "{}_alpha_1.png", "Frame {}.BMP", "{:05d}.tif", "{}.pgm"])
def test_any_name_with_a_number(tmp_path, name):
    write(tmp_path, map(grey, range(12)), name)
    (tmp_path / "._m1.png").write_bytes(b"of another system")
    found, _ = read(tmp_path, 12)
    np.testing.assert_array_equal(found, [coverage(t) for t in range(12)])


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ([grey(0), plain(0), grey(2)], r"1\.png: nothing covered, in frame 1"),
        ([grey(0), plain(255), grey(2)], r"1\.png: all of the picture covered, in frame 1"),
        ([plain(0)] * 3, "face outside of the matte"),
        ([Image.fromarray(np.roll(coverage(0), 16, 1))] * 3, "face outside of the matte"),
        ([Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8))] * 3, "a coloured picture"),
        (
            [Image.fromarray(np.random.default_rng(0).integers(60, 200, (24, 32), np.uint8))] * 3,
            "neither black nor white",
        ),
        ([grey(0), grey(1), grey(2).resize((32, 12))], r"2\.png: 32x12 pixels"),
    ],
    ids=["one empty", "one full", "all empty", "another's", "photographs", "grey photographs", "another shape"],
)
def test_what_is_no_matte_of_the_person_is_refused(tmp_path, pictures, message):
    write(tmp_path, pictures)
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_absent_ones_are_named(tmp_path):
    write(tmp_path, map(grey, range(12)))
    (tmp_path / "7.png").unlink()
    with pytest.raises(UserError, match="none of frames 7; expected 12, one per frame"):
        read(tmp_path, 12)


def test_mattes_of_a_faster_video_are_thinned_with_its_frames(tmp_path):
    clocks = clocks_of(range(0, 24, 2), 24, 50.0, 25.0)
    write(tmp_path, [Image.fromarray(np.roll(coverage(0), t // 4, 0)) for t in range(24)], "{:03d}.png")
    found, _ = read(tmp_path, 12, clocks=clocks)
    np.testing.assert_array_equal(found, [np.roll(coverage(0), t // 2, 0) for t in range(12)])
    with VideoWriter(tmp_path / "m.mp4", 50) as video:
        for t in range(24):
            bar = np.zeros((24, 32, 3), np.uint8)
            bar[t:] = 255
            video.write(bar)
    of_video = ReadyMattes(tmp_path / "m.mp4", 12, SIZE, SIZE, clocks=clocks)
    np.testing.assert_allclose([m.mean() for m in of_video], 255 * (24 - 2 * np.arange(12)) / 24, atol=4)
    assert of_video.believed["counted_by"] == "pictures of the video"


def test_mattes_of_the_whole_picture_are_cropped(tmp_path):
    whole = np.zeros((48, 64), np.uint8)
    whole[10:34, 20:52] = coverage(0)
    write(tmp_path, [Image.fromarray(whole)] * FRAMES)
    found, _ = read(tmp_path, crop=Crop((64, 48), (20, 10, 52, 34)))
    np.testing.assert_array_equal(found, [coverage(0)] * FRAMES)


def test_another_size_of_the_same_shape_is_scaled(tmp_path):
    write(tmp_path, [grey(t).resize((64, 48), Image.Resampling.NEAREST) for t in range(FRAMES)])
    np.testing.assert_array_equal(read(tmp_path)[0], [coverage(t) for t in range(FRAMES)])


FORMATS = {"L": "gray", "RGB": "rgb24", "RGBA": "rgba"}


def film(file, codec, form, pictures, **options):
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *SIZE, form
        for picture in pictures:
            shown = av.VideoFrame.from_ndarray(np.array(picture), format=FORMATS[picture.mode])
            container.mux(stream.encode(shown))
        container.mux(stream.encode())


def cut_out(frame: int) -> Image.Image:
    """A photograph with the coverage as its transparency."""
    noise = np.random.default_rng(frame).integers(0, 255, (*SIZE[::-1], 3), np.uint8)
    return Image.fromarray(np.concatenate([noise, coverage(frame)[..., None]], 2))


@pytest.mark.parametrize(
    ("name", "codec", "form", "picture", "true", "near"),
    [
        ("m.mov", "png", "rgba", cut_out, coverage, 1),
        ("m.mov", "prores_ks", "yuva444p10le", cut_out, coverage, 4),
        ("m.webm", "libvpx-vp9", "yuva420p", cut_out, coverage, 30),
        ("m.mkv", "ffv1", "gray", lambda t: Image.fromarray(sharp(t) // 255), sharp, 1),
        ("m.mkv", "ffv1", "gray16le", grey, coverage, 1),
    ],
)
def test_films_are_read_as_pictures_are(tmp_path, name, codec, form, picture, true, near):
    film(tmp_path / name, codec, form, map(picture, range(FRAMES)), **{"auto-alt-ref": "0"})
    np.testing.assert_allclose(read(tmp_path / name)[0], [true(t) for t in range(FRAMES)], atol=near)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (lambda t: Image.composite(cut_out(t), Image.new("RGB", SIZE, (0, 255, 0)), grey(t)), "a coloured picture"),
        (lambda t: cut_out(t).convert("RGB").convert("L").convert("RGB"), "neither black nor white"),
    ],
    ids=["green screen", "grey photograph"],
)
def test_films_that_are_no_mattes_are_refused(tmp_path, picture, message):
    film(tmp_path / "m.mkv", "ffv1", "bgr0", [picture(t).convert("RGB") for t in range(FRAMES)])
    with pytest.raises(UserError, match=message):
        read(tmp_path / "m.mkv")
    (tmp_path / "m.mkv").write_bytes(b"")
    with pytest.raises(UserError, match=r"m\.mkv: Invalid data"):
        read(tmp_path / "m.mkv")
