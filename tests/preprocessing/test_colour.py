from itertools import pairwise

import av
import numpy as np
import pytest

from talkingavatar.errors import UserError
from talkingavatar.preprocessing import colour
from talkingavatar.preprocessing.decode import pictures, probe

P3, BT2020 = 12, 9


def test_published_values():
    """ITU-R BT.2408, table 1 (203 cd/m2 is 58 % PQ, 75 % HLG on 1000 cd/m2); ITU-R BT.2087 (BT.2020 to BT.709)."""
    assert colour.pq_of_light(np.array([100.0, 203.0, 10_000.0])) == pytest.approx([0.508, 0.581, 1.0], abs=1e-3)
    levels = np.linspace(0, 1, 50)
    assert colour.pq_of_light(colour.light_of_pq(levels)) == pytest.approx(levels, abs=1e-5)
    assert 1000 * colour.light_of_hlg(np.array([0.75, 1.0])) ** 1.2 == pytest.approx([203, 1000], rel=2e-3)
    change = np.linalg.inv(colour.to_xyz(1)) @ colour.to_xyz(BT2020)
    expected = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    assert change == pytest.approx(np.array(expected), abs=1e-4)


def standard() -> np.ndarray:
    """Greys and colours of a standard display."""
    ramp = np.linspace(0, 255, 32).round().astype(np.uint8)
    red, green = np.meshgrid(ramp, ramp)
    return np.stack([red, green, (red.astype(int) + green) // 2], -1).astype(np.uint8)


def dynamic(picture: np.ndarray, transfer: int, primaries: int, white: float) -> av.VideoFrame:
    """The same picture on a wide or high-dynamic-range display, white at `white` cd/m2, as 16-bit RGB."""
    change = np.linalg.inv(colour.to_xyz(primaries)) @ colour.to_xyz(1)
    light = np.maximum((picture / 255.0) ** 2.4 @ change.T, 0)
    if transfer == colour.PQ:
        signal = colour.pq_of_light(light * white)
    elif transfer == colour.HLG:
        scene = light * white / 1000
        luminance = np.maximum(scene @ colour.to_xyz(primaries)[1], 1e-9)[..., None]
        levels = np.linspace(0, 1, 20001)
        signal = np.interp(scene * luminance ** (1 / 1.2 - 1), colour.light_of_hlg(levels), levels)
    else:
        signal = light ** (1 / 2.4)
    frame = av.VideoFrame.from_ndarray((65535 * signal.clip(0, 1)).round().astype(np.uint16), format="rgb48le")
    frame.color_trc, frame.color_primaries = transfer, primaries
    return frame


@pytest.mark.parametrize("white", [100.0, 125.0, 203.0])
@pytest.mark.parametrize("primaries", [BT2020, P3])
@pytest.mark.parametrize("transfer", [colour.PQ, colour.HLG])
def test_a_standard_picture_comes_back_from_high_dynamic_range(transfer, primaries, white):
    picture = standard()
    frame = dynamic(picture, transfer, primaries, white)
    shown = colour.rgb(frame, 32, 32, colour.brightest([frame]))
    assert np.abs(shown.astype(int) - picture).mean() < 1.5


@pytest.mark.parametrize("primaries", [BT2020, P3])
def test_wide_primaries_alone_are_brought_to_the_displays(primaries):
    picture = standard()
    shown = colour.rgb(dynamic(picture, 1, primaries, 1.0), 32, 32, 1.0)
    assert np.abs(shown.astype(int) - picture).max() <= 3


@pytest.mark.parametrize("transfer", [colour.PQ, colour.HLG])
def test_a_film_little_brighter_looks_little_different(transfer):
    """Its peak tells where white is: nowhere does a hundredth more of it change a level by more than itself."""
    frame = dynamic(standard(), transfer, BT2020, 80.0)
    shown = [colour.rgb(frame, 32, 32, peak).astype(int) for peak in np.geomspace(80, 400, 163) / 203]
    assert max(np.abs(b - a).max() for a, b in pairwise(shown)) <= 2


def test_lights_beyond_white_are_rolled_off():
    """Rising to the end, unchanged below the knee, white at the peak."""
    nits = np.linspace(1, 1000, 256)
    codes = np.repeat((65535 * colour.pq_of_light(nits)).round()[None, :, None], 3, axis=2).astype(np.uint16)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(codes), format="rgb48le")
    frame.color_trc, frame.color_primaries = colour.PQ, BT2020
    shown = colour.rgb(frame, 256, 1, 1000 / 203)[0, :, 0].astype(int)
    assert np.all(np.diff(shown) >= 0) and shown[-1] == 255 and shown[nits < 400].max() < 252
    low = nits < 60
    assert np.abs(shown[low] - 255 * (nits[low] / 203) ** (1 / 2.4)).max() <= 1


def planes(grey: np.ndarray) -> np.ndarray:
    """Luma with no chroma beside it, 4:2:0."""
    return np.concatenate([grey, np.full((len(grey) // 2, grey.shape[1]), 128, np.uint8)])


def coded(file, codec="libx265", pix_fmt="yuv420p10le", matrix=9, transfer=18, primaries=9, full=False):
    """Two grey halves, coded with these tags."""
    picture = np.full((64, 64, 3), 60, np.uint8)
    picture[:, 32:] = 180
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "4", "x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_trc, context.color_primaries = matrix, transfer, primaries
        context.color_range = 2 if full else 1
        for i in range(4):
            grey = picture[..., 0] if full else (16 + picture[..., 0] * (219 / 255)).round().astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="gray")
            if pix_fmt != "gray":
                frame = av.VideoFrame.from_ndarray(planes(grey), format="yuv420p").reformat(format=pix_fmt)
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def test_high_dynamic_range_of_a_file(tmp_path):
    """Half HLG signals: 180 of 255 is 70.6 % (160 cd/m2 on 1000), of diffuse white 0.79: the film's white."""
    source = probe(coded(tmp_path / "h.mov"))
    shown = next(pictures(source, 25.0))
    light = 1000 / 203 * colour.light_of_hlg(np.array([60, 180]) / 255) ** 1.2
    assert source.peak == pytest.approx(light[1], rel=0.05)
    halves = np.array([shown[:, 4:28].mean(), shown[:, 36:60].mean()])
    assert halves == pytest.approx(255 * (light / light[1]) ** (1 / 2.4), abs=3)


def test_a_dim_film_in_wide_colours_stays_dim(tmp_path):
    """Greys are the same in all primaries."""
    source = probe(coded(tmp_path / "d.mov", transfer=1))
    shown = next(pictures(source, 25.0))
    assert shown[:, 4:28].mean() == pytest.approx(60, abs=2) and shown[:, 36:60].mean() == pytest.approx(180, abs=2)


@pytest.mark.parametrize(("pix_fmt", "full"), [("yuv420p", False), ("yuv420p", True), ("gray", False), ("gray", True)])
def test_black_and_white_of_either_range(pix_fmt, full, tmp_path):
    source = probe(coded(tmp_path / "r.mkv", "libx264", pix_fmt, 1, 1, 1, full))
    shown = next(pictures(source, 25.0))
    assert shown[:, 4:28].mean() == pytest.approx(60, abs=2) and shown[:, 36:60].mean() == pytest.approx(180, abs=2)


def test_colours_that_cannot_be_read_are_told(tmp_path):
    with pytest.raises(UserError, match="ICtCp"):
        probe(coded(tmp_path / "i.mov", matrix=14, transfer=16))
