import numpy as np
import pytest
import soundfile

from talkingavatar.audio.reading import read_sound
from talkingavatar.engine.media.writer import VideoWriter
from talkingavatar.errors import UserError


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 96000])
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_sound_keeps_its_clock_at_any_rate(tmp_path, rate, suffix):
    if suffix == "mp3" and rate == 96000:
        pytest.skip("mp3 has no such rate")
    time = np.arange(round(1.37 * rate)) / rate
    # A tone whose loudness peaks at 0.8 s.
    tone = np.sin(2 * np.pi * 300 * time) * np.exp(-np.square((time - 0.8) / 0.05))
    soundfile.write(tmp_path / f"a.{suffix}", np.stack([tone, tone], 1), rate)
    samples = read_sound(tmp_path / f"a.{suffix}", 16000)
    assert len(samples) / 16000 == pytest.approx(1.37, abs=0.08 if suffix == "mp3" else 0.001)
    position = np.average(np.arange(len(samples)), weights=np.square(samples)) / 16000
    assert position == pytest.approx(0.8, abs=0.03 if suffix == "mp3" else 0.002)


def test_sound_of_a_video(tmp_path):
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 48000).astype(np.float32)
    with VideoWriter(tmp_path / "v.mp4", 10, sound, 48000) as video:
        for _ in range(10):
            video.write(np.zeros((16, 16, 3), np.uint8))
    assert len(read_sound(tmp_path / "v.mp4", 48000)) == pytest.approx(48000, abs=1100)


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_sound(tmp_path / "none.wav", 16000)
    (tmp_path / "bad.wav").write_bytes(b"RIFF nonsense" * 50)
    with pytest.raises(UserError, match="not readable"):
        read_sound(tmp_path / "bad.wav", 16000)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    with pytest.raises(UserError, match=r"empty\.wav"):
        read_sound(tmp_path / "empty.wav", 16000)
    with VideoWriter(tmp_path / "mute.mp4", 10) as video:
        video.write(np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(UserError, match="no sound in it"):
        read_sound(tmp_path / "mute.mp4", 16000)
