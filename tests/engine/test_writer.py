import av
import numpy as np
import pytest

from talkingavatar.engine.media.stream import StreamWriter
from talkingavatar.engine.media.writer import VideoWriter
from talkingavatar.engine.media.yuv import video_frame
from talkingavatar.errors import DiskFull
from talkingavatar.runtime.disk import told_in_a_line
from tests.conftest import room_for


def read(file):
    with av.open(str(file)) as container:
        video = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    with av.open(str(file)) as container:
        sound = (
            np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)]) if container.streams.audio else None
        )
    return video, sound


def test_frames_length_and_sound_come_back(tmp_path):
    rate, fps, frames = 16_000, 25, 50
    click = np.zeros(rate * 3, np.float32)
    click[rate : rate + 160] = 0.9
    with VideoWriter(tmp_path / "a.mp4", fps, click, rate) as video:
        for i in range(frames):
            video.write(np.full((65, 64, 3), 255 if i == fps else 0, np.uint8))
    pictures, sound = read(tmp_path / "a.mp4")
    assert len(pictures) == frames and pictures[0].shape == (66, 64, 3)
    assert int(np.argmax([p.mean() for p in pictures])) == fps
    assert abs(np.abs(sound).argmax() - rate) < rate / fps  # the click is heard while the flash is seen
    assert abs(len(sound) - 2 * rate) < rate / fps * 2


@pytest.mark.parametrize("size", [(64, 96), (33, 17)])
def test_pictures_become_what_ffmpeg_makes_of_them(size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    even = np.pad(picture, ((0, size[0] % 2), (0, size[1] % 2), (0, 0)), mode="edge")
    expected = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(format="yuv420p")
    found = video_frame(picture)
    apart = np.abs(found.to_ndarray().astype(int) - expected.to_ndarray())
    assert apart.max() <= 1 and apart.mean() < 0.05
    assert (found.color_range, found.colorspace) == (expected.color_range, expected.colorspace)


def test_nothing_half_written_is_left(tmp_path):
    with pytest.raises(RuntimeError, match="stop"), VideoWriter(tmp_path / "a.mp4", 25) as video:
        video.write(np.zeros((64, 64, 3), np.uint8))
        raise RuntimeError("stop")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def little_room():
    """A file may hold 20,000 bytes in this process: writing beyond fails as on a full disk."""
    with room_for(20_000):
        yield


@pytest.mark.parametrize("frames", [12, 60])
def test_a_disk_that_is_full_is_told_in_a_line_and_nothing_is_left(tmp_path, little_room, frames):
    """Early, while frames are still held back by the encoder, and late."""
    noise = np.random.default_rng(0).integers(0, 255, (frames, 64, 64, 3)).astype(np.uint8)
    with pytest.raises(DiskFull, match="room"), told_in_a_line(), VideoWriter(tmp_path / "a.mp4", 25) as video:
        for picture in noise:
            video.write(picture)
    with pytest.raises(DiskFull, match="room"), told_in_a_line(), StreamWriter(tmp_path / "b.mp4", 25, 64, 64) as live:
        for number, picture in enumerate(noise):
            live.show(number, picture)
    assert not list(tmp_path.iterdir())
