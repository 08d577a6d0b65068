"""Films as phones, cameras and converters write them: every picture once, at its time, as a player shows it."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image, ImageCms

from talkingavatar.errors import UserError
from talkingavatar.preprocessing.decode import pictures, probe, taken
from tests.preprocessing.videos import number_of, numbered, write_video

TICK = Fraction(1, 90_000)


def frame_of(picture, index, fps=25):
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    frame.pts, frame.time_base = round(index / fps / TICK), TICK
    return frame


def film(file, count=30, codec="libx264", fps=25, pix_fmt="yuv420p", options=None, form=None, size=(160, 96), pixel=1):
    """Numbered pictures; the container's own stamps."""
    with av.open(str(file), "w", format=form) as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.sample_aspect_ratio = Fraction(pixel)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(i, *size), format="rgb24")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def numbers(file, fps=25.0):
    return [number_of(picture) for picture in pictures(probe(file), fps)]


B_FRAMES = {"bf": "3", "preset": "veryfast"}
SAMPLE = {  # a fixed part of what was compared with ffmpeg's command line: name, codec, pixel format, options
    "avi": ("a.avi", "libx264", "yuv420p", B_FRAMES),
    "avi mpeg4": ("a.avi", "mpeg4", "yuv420p", {"bf": "2", "qscale": "2"}),
    "ts": ("a.ts", "libx264", "yuv420p", B_FRAMES),
    "flv": ("a.flv", "libx264", "yuv420p", B_FRAMES),
    "raw h264": ("a.h264", "libx264", "yuv420p", B_FRAMES),
    "raw hevc": ("a.hevc", "libx265", "yuv420p10le", {"x265-params": "log-level=none", "preset": "ultrafast"}),
    "mpeg program": ("a.mpg", "mpeg2video", "yuv420p", {"bf": "2", "qscale": "2"}),
    "webm": ("a.webm", "libvpx", "yuv420p", {"b": "4M", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "5"}),
    "prores": ("a.mov", "prores_ks", "yuva444p10le", {}),
    "mjpeg": ("a.avi", "mjpeg", "yuvj422p", {"qscale": "2"}),
    "palette": ("a.gif", "gif", "rgb8", {}),
    "grey": ("a.mkv", "ffv1", "gray10le", {}),
    "rgb": ("a.avi", "huffyuv", "rgb24", {}),
}


@pytest.mark.parametrize("name", SAMPLE)
def test_every_picture_comes_once_and_in_order(name, tmp_path):
    file, codec, pix_fmt, options = SAMPLE[name]
    source = probe(film(tmp_path / file, codec=codec, pix_fmt=pix_fmt, options=options))
    assert source.rate == pytest.approx(25, rel=1e-4)
    seen = [number_of(picture) for picture in pictures(source, 25.0)]
    assert seen == list(range(30)) == taken(source, 25.0, 0.0, 30)


def test_a_stream_without_times_has_the_rate_that_is_given(tmp_path):
    file = film(tmp_path / "raw.h264", options=B_FRAMES)
    assert probe(file, rate=50.0).seconds == pytest.approx(30 / 50)
    assert [number_of(p) for p in pictures(probe(file, rate=50.0), 25.0)] == list(range(0, 30, 2))


def test_faster_sources_tell_which_pictures_are_taken(tmp_path):
    source = probe(film(tmp_path / "fast.mp4", 60, fps=Fraction(60000, 1001)))
    fps = 30000 / 1001
    assert len(source.film.times) == 60 and source.rate == pytest.approx(2 * fps, rel=1e-4)
    assert taken(source, fps, 10 / fps, 20) == list(range(20, 60, 2))
    assert [number_of(p) for p in pictures(source, fps, start=10 / fps)] == list(range(20, 60, 2))


@pytest.mark.parametrize(("name", "fps"), [("slow.mp4", 1), ("slow.mkv", 1), ("slower.mkv", Fraction(1, 5))])
def test_a_slow_film_with_b_frames_is_whole(name, fps, tmp_path):
    """Its pictures are decoded seconds before they are shown, and seconds out of order."""
    source = probe(film(tmp_path / name, 8, fps=fps, options={"bf": "3", "b-adapt": "0"}))
    assert source.rate == pytest.approx(float(fps)) and source.seconds == pytest.approx(8 / fps, rel=1e-3)
    assert [number_of(picture) for picture in pictures(source, float(fps))] == list(range(8))
    assert source.film.missing <= 0


def test_a_hole_is_a_hole_and_not_another_rate(tmp_path):
    times = [i / 25 for i in range(50) if not 20 <= i < 40]
    source = probe(write_video(tmp_path / "hole.mp4", [numbered(i) for i in range(30)], times=times))
    assert source.rate == pytest.approx(25) and source.seconds == pytest.approx(2)
    shown = [number_of(p) for p in pictures(source, 25.0)]
    assert shown[:20] == list(range(20)) and shown[40:] == list(range(20, 30))
    assert set(shown[20:40]) == {19, 20}


def test_stamps_that_begin_anew_go_on(tmp_path):
    """Two recordings of a broadcast stream, one behind the other."""
    content = film(tmp_path / "one.ts").read_bytes()
    (tmp_path / "two.ts").write_bytes(2 * content)
    source = probe(tmp_path / "two.ts")
    assert source.seconds == pytest.approx(2.4, abs=0.05) and source.rate == pytest.approx(25, rel=1e-3)
    assert [number_of(p) for p in pictures(source, 25.0)] == 2 * list(range(30))


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("first", ["top", "bottom"])
def test_interlaced_pictures_become_whole(first, marked, tmp_path):
    """A bar that moves from field to field leaves combs, which a whole picture has not; whether it says so or not."""
    options = {"crf": "10"}
    if marked:
        options |= {"flags": "+ilme+ildct", "x264-params": f"{'tff' if first == 'top' else 'bff'}=1"}
    with av.open(str(tmp_path / "i.mts"), "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for i in range(30):
            field = [np.full((96, 128, 3), 20, np.uint8) for _ in range(2)]
            for k in range(2):
                field[k][:, 10 + 6 * i % 90 + 3 * k :][:, :16] = 220
            upper, lower = field if first == "top" else field[::-1]
            picture = upper.copy()
            picture[1::2] = lower[1::2]
            container.mux(stream.encode(frame_of(picture, i)))
        container.mux(stream.encode())
    source = probe(tmp_path / "i.mts")
    assert source.fields == ("" if marked else {"top": "tff", "bottom": "bff"}[first])
    shown = np.stack(list(pictures(source, 25.0)))[..., 1].astype(int)
    assert len(shown) == 30
    combs = np.abs(shown[:, 1:-1] - (shown[:, :-2] + shown[:, 2:]) / 2) > 60
    assert combs[1:-1].mean() < 0.003


def test_fine_stripes_that_move_are_no_fields(tmp_path):
    """Cloth of lines of a pixel, that jumps with who wears it."""
    rows = np.zeros((96, 128, 3), np.uint8)
    rows[::2] = 220
    with av.open(str(tmp_path / "s.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for i in range(30):
            container.mux(stream.encode(frame_of(np.roll(rows, (i % 3, 5 * i), (0, 1)), i)))
        container.mux(stream.encode())
    assert probe(tmp_path / "s.mp4").fields == ""


def with_thumbnail(file, disposition=None):
    """A track of one small picture before the film."""
    with av.open(str(file), "w") as container:
        small, stream = container.add_stream("mjpeg", rate=1), container.add_stream("libx264", rate=25)
        small.width, small.height, small.pix_fmt = 64, 48, "yuvj420p"
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        if disposition is not None:
            small.disposition = disposition
        container.mux(small.encode(av.VideoFrame.from_ndarray(numbered(255, 64, 48), format="rgb24")))
        container.mux(small.encode())
        for i in range(30):
            container.mux(stream.encode(frame_of(numbered(i), i)))
        container.mux(stream.encode())
    return file


@pytest.mark.parametrize("disposition", [None, Disposition.attached_pic])
def test_a_thumbnail_before_the_film_is_not_the_film(disposition, tmp_path):
    assert numbers(with_thumbnail(tmp_path / "a.mkv", disposition)) == list(range(30))


def test_mirrored_as_the_file_says(tmp_path):
    with av.open(str(tmp_path / "m.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.set_display_rotation(0, hflip=True)
        for i in range(3):
            container.mux(stream.encode(frame_of(numbered(5), i)))
        container.mux(stream.encode())
    shown = next(pictures(probe(tmp_path / "m.mp4"), 25.0))
    assert np.abs(shown.astype(int) - numbered(5)[:, ::-1]).mean() < 8


def test_another_size_is_scaled_another_shape_refused(tmp_path):
    parts = {
        size: film(tmp_path / f"{size[0]}.ts", size=size).read_bytes() for size in ((160, 96), (320, 192), (96, 160))
    }
    (tmp_path / "size.ts").write_bytes(parts[160, 96] + parts[320, 192])
    assert numbers(tmp_path / "size.ts") == 2 * list(range(30))
    (tmp_path / "shape.ts").write_bytes(parts[160, 96] + parts[96, 160])
    with pytest.raises(UserError, match="160x96 and of 96x160 pixels; expected one shape"):
        numbers(tmp_path / "shape.ts")


def test_pixels_of_another_shape_in_mid_film_are_refused(tmp_path):
    """As broadcasts change from 4:3 to 16:9. What comes before can be taken; a shape that holds is no matter."""
    parts = [film(tmp_path / f"{i}.ts", pixel=pixel) for i, pixel in enumerate((1, "4/3"))]
    (tmp_path / "both.ts").write_bytes(parts[0].read_bytes() + parts[1].read_bytes())
    source = probe(tmp_path / "both.ts")
    with pytest.raises(UserError, match=r"1 and 1\.33 times as wide as high; expected one shape"):
        list(pictures(source, 25.0))
    assert len(list(pictures(source, 25.0, end=1.0))) == 25
    assert probe(parts[1]).aspect == pytest.approx(4 / 3) and len(numbers(parts[1])) == 30


def still(folder):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(numbered(1)).save(folder / "s.png", icc_profile=profile)
    return folder / "s.png"


def one_picture(folder):
    return film(folder / "one.mp4", 1)


def empty(folder):
    (folder / "e.mp4").touch()
    return folder / "e.mp4"


@pytest.mark.parametrize(
    ("made", "message"),
    [(still, "a still picture"), (one_picture, "a still picture"), (empty, "an empty file"), (lambda f: f, "a folder")],
)
def test_what_is_no_film_is_told(made, message, tmp_path):
    with pytest.raises(UserError, match=message):
        probe(made(tmp_path))


def test_side_data_that_pyav_cannot_free_harms_nothing(tmp_path):
    """An animation whose pictures carry a named colour profile: reading the side data of one ends the process."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    first, *others = (Image.fromarray(numbered(i)) for i in range(30))
    first.save(tmp_path / "a.png", save_all=True, append_images=others, duration=40, icc_profile=profile)
    assert numbers(tmp_path / "a.png") == list(range(30))


def test_a_name_that_looks_like_an_address_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    film(tmp_path / "plain.mp4").rename("http:%03d.mp4")
    assert numbers(Path("http:%03d.mp4")) == list(range(30))


def test_a_damaged_packet_costs_no_more_than_its_pictures(tmp_path):
    file = film(tmp_path / "d.mov", codec="png", pix_fmt="rgb24")
    content = file.read_bytes()
    at = content.index(b"\x89PNG", len(content) // 2)
    file.write_bytes(content[:at] + bytes(200) + content[at + 200 :])
    shown = numbers(file)
    assert len(shown) == 30 and sum(a != b for a, b in zip(shown, range(30), strict=True)) == 1
