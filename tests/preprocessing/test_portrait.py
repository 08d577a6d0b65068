"""One picture: pictures of all kinds, read as they are meant to be seen; heads that are cut out and those refused."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from talkingavatar.config.preprocess import PreprocessConfig, read_arguments
from talkingavatar.errors import UserError
from talkingavatar.preprocessing.head import Face, check_view, cut_out, shaded_eyes
from talkingavatar.preprocessing.picture import read_picture
from talkingavatar.preprocessing.portrait import preprocess_portrait

RED = np.zeros((140, 160, 3), np.uint8)
RED[:70] = (200, 40, 30)


def read(file):
    return read_picture(file, "portrait").astype(int)


def test_a_picture_is_read_as_it_is_meant_to_be_seen(tmp_path):
    picture = Image.fromarray(RED)
    picture.save(tmp_path / "plain.png")
    assert np.array_equal(read(tmp_path / "plain.png"), RED)

    turned = Image.Exif()
    turned[0x0112] = 6  # the top lies at the right
    picture.save(tmp_path / "turned.png", exif=turned)
    assert np.array_equal(read(tmp_path / "turned.png"), np.rot90(RED, -1))

    picture.convert("CMYK").save(tmp_path / "inks.tif")
    picture.convert("CMYK").save(tmp_path / "inks.jpg", quality=95)
    assert np.abs(read(tmp_path / "inks.tif") - RED).max() <= 2
    assert np.abs(read(tmp_path / "inks.jpg") - RED)[:60].max() <= 6

    grey = np.tile(np.linspace(0, 65535, 160).astype(np.uint16), (140, 1))
    Image.fromarray(grey).save(tmp_path / "deep.png")
    assert np.abs(read(tmp_path / "deep.png") - grey[..., None] / 257.0).max() <= 0.5

    picture.quantize(8).save(tmp_path / "palette.png")
    assert np.array_equal(read(tmp_path / "palette.png"), RED)


def test_what_is_clear_is_white(tmp_path):
    picture = Image.fromarray(RED)
    clear, half = picture.convert("RGBA"), picture.convert("LA")
    clear.putalpha(0)
    half.putalpha(128)
    clear.save(tmp_path / "clear.png")
    half.save(tmp_path / "half.png")
    picture.quantize(8).save(tmp_path / "palette.png", transparency=picture.quantize(8).getpixel((0, 0)))
    assert (read(tmp_path / "clear.png") == 255).all()
    assert np.abs(read(tmp_path / "half.png")[100] - 127).max() <= 1  # black
    assert (read(tmp_path / "palette.png")[:70] == 255).all() and (read(tmp_path / "palette.png")[70:] == 0).all()


def test_colours_are_those_of_the_pictures_profile(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(RED).save(tmp_path / "plain.png", icc_profile=srgb)
    assert np.abs(read(tmp_path / "plain.png") - RED).max() <= 1
    # A profile in which red and green have changed their names.
    other = srgb.replace(b"rXYZ", b"____").replace(b"gXYZ", b"rXYZ").replace(b"____", b"gXYZ")
    for mode in ("RGB", "RGBA"):
        Image.fromarray(RED).convert(mode).save(tmp_path / "other.png", icc_profile=other)
        assert np.abs(read(tmp_path / "other.png") - RED[..., [1, 0, 2]]).max() <= 2
    Image.fromarray(RED).save(tmp_path / "damaged.png", icc_profile=b"none")
    assert np.array_equal(read(tmp_path / "damaged.png"), RED)


def test_what_is_no_portrait_is_refused(tmp_path, monkeypatch):
    frames = [Image.fromarray(RED), Image.fromarray(RED[::-1])]
    frames[0].save(tmp_path / "moves.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "moves.png", save_all=True, append_images=frames[1:])
    Image.new("RGB", (1, 1)).save(tmp_path / "point.png")
    (tmp_path / "text.png").write_text("no picture")
    frames[0].save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-300])
    for name, found in {"moves.gif": "2 pictures", "moves.png": "2 pictures", "point.png": "1 x 1",
                        "text.png": "not to be read", "cut.jpg": "truncated", ".": "not to be read",
                        "absent.png": "nothing there"}.items():  # fmt: skip
        with pytest.raises(UserError, match=found):
            read(tmp_path / name)
    frames[0].save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with pytest.raises(UserError, match="too large"):
        read(tmp_path / "large.png")


def test_the_first_of_a_cameras_pictures_is_taken(tmp_path):
    frames = [Image.fromarray(RED), Image.fromarray(RED[::-1])]
    frames[0].save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=frames[1:], quality=95)
    assert np.abs(read(tmp_path / "phone.jpg") - RED)[:60].max() <= 6


def test_a_head_is_cut_out_with_room_as_far_as_there_is(tmp_path):
    face = Face(np.array([450.0, 300, 550, 400]))
    x0, y0, x1, y1 = face.cut(1000, 1000)
    assert (x1 - x0, y1 - y0) == (300, 300) and (x0, y0) == (350, 215)
    assert face.cut(1000, 420) == (350, 120, 650, 420)
    assert face.cut(560, 250) == (310, 0, 560, 250)
    picture = np.zeros((420, 1000, 3), np.uint8)
    picture[:, :500] = 200
    out = cut_out(picture, face.cut(1000, 420), 64)
    assert out.shape == (64, 64, 3) and (out[:, :27] == 200).all() and (out[:, 37:] == 0).all()


def mesh_seen(turn: float) -> np.ndarray:
    """The points that are looked at, of a head turned by so many degrees."""
    mesh = np.full((478, 2), 100.0, np.float32)
    radians = np.radians(turn)
    for point, (x, y, z) in {1: (0, 10, 75), 234: (-60, 0, 0), 454: (60, 0, 0), 145: (-30, -20, 40), 374: (30, -20, 40),
                             50: (-35, 15, 45), 280: (35, 15, 45)}.items():  # fmt: skip
        mesh[point] = 100 + x * np.cos(radians) + z * np.sin(radians), 100 + y
    return mesh


def test_faces_from_aside_and_shaded_eyes_are_told():
    for turn in (0, 15, -25):
        check_view(mesh_seen(turn))
    for turn in (45, -60, 85):
        with pytest.raises(UserError, match="from aside"):
            check_view(mesh_seen(turn))
    with pytest.raises(UserError, match="does not fit"):
        check_view(np.full((478, 2), np.nan, np.float32))
    picture = np.full((200, 200, 3), 180, np.uint8)
    assert not shaded_eyes(picture, mesh_seen(0))
    picture[70:95] = 25
    assert shaded_eyes(picture, mesh_seen(0))


@pytest.mark.parametrize(
    "given",
    ["video=b.mp4", "start=1", "end=2", "fps=25", "sound=optional", "sync=2", "landmarks=openpose", "stride=2",
     "landmarks_path=b", "mattes=b", "body=smplx", "body_path=b", "gender=male", "smooth=2"],
)  # fmt: skip
def test_what_means_nothing_to_a_portrait_is_refused_by_name(given):
    with pytest.raises(UserError, match=f"^{given.split('=')[0]}: found .* with a portrait"):
        read_arguments(["portrait=a.png", given])


def test_frames_are_a_portraits():
    assert read_arguments(["portrait=a.png", "frames=100", "size=256"]).frames == 100
    assert read_arguments(["portrait=a.png"]).long_side == 512 and read_arguments(["video=a.mp4"]).long_side == 640
    with pytest.raises(UserError, match=r"^frames: found 100 of a video"):
        read_arguments(["video=a.mp4", "frames=100"])


def test_what_lies_in_the_folder_is_not_written_over(tmp_path):
    Image.fromarray(RED).save(tmp_path / "plain.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "audio.flac").write_text("mine")
    given = PreprocessConfig(portrait=str(tmp_path / "plain.png"), out=str(tmp_path / "out"))
    with pytest.raises(UserError, match="and no capture"):
        preprocess_portrait(given, lambda *_: lambda: None)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["audio.flac"]
