from fractions import Fraction

import av
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


VOICE = 0.4 * np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000).astype(np.float32)
HISS = 0.01 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
SILENCE = np.zeros_like(VOICE)


def track(container, channels, layout, codec="pcm_f32le", rate=16_000, start=0.0):
    """A sound track of a container and what is to be put into it."""
    stream = container.add_stream(codec, rate=rate, layout=layout)
    frame = av.AudioFrame.from_ndarray(np.stack(channels).T.reshape(1, -1).copy(), format="flt", layout=layout)
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(start * rate)
    return stream, frame


def write(file, *tracks, pictures=0, first=0.0):
    """A file of sound tracks (arguments of `track`), with a film whose first picture is shown at `first` seconds."""
    with av.open(str(file), "w") as container:
        film = container.add_stream("mpeg4", rate=25) if pictures else None
        if film is not None:
            film.width, film.height, film.pix_fmt = 64, 64, "yuv420p"
        for stream, frame in [track(container, *given) for given in tracks]:
            container.mux([*stream.encode(frame), *stream.encode()])
        for i in range(pictures):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            picture.pts = round(first * 25) + i
            container.mux(film.encode(picture))
        if film is not None:
            container.mux(film.encode())
    return file


@pytest.mark.parametrize(
    ("layout", "channels"),
    [
        ("stereo", [VOICE, VOICE]),
        ("5.1", [VOICE] * 6),
        ("7.1", [VOICE] * 8),
        ("quad", [VOICE] * 4),
        ("5.1", [HISS, HISS, VOICE, HISS, HISS, HISS]),  # where films have their speech
        ("stereo", [VOICE, SILENCE]),
        ("stereo", [HISS, VOICE]),
        ("stereo", [VOICE, -VOICE]),
        ("stereo", [VOICE, -0.9 * VOICE]),
        ("5.1", [VOICE, VOICE, SILENCE, 2 * VOICE, SILENCE, SILENCE]),  # the fourth is for effects
    ],
)
def test_a_voice_is_as_loud_as_its_mono_copy(layout, channels, tmp_path):
    heard = read_sound(write(tmp_path / "a.mov", (channels, layout)), 16_000)
    assert len(heard) == 16_000 and np.abs(heard - VOICE).max() < 1e-3


def test_two_voices_are_both_heard(tmp_path):
    other = np.roll(VOICE, 20) * np.linspace(0, 1, 16_000, dtype=np.float32)
    heard = read_sound(write(tmp_path / "a.mkv", ([VOICE, other], "stereo")), 16_000)
    assert np.abs(heard - (VOICE + other) / 2).max() < 1e-3


@pytest.mark.parametrize(
    ("codec", "error"), [("pcm_u8", 0.01), ("pcm_s16le", 1e-4), ("pcm_s24be", 1e-6), ("pcm_f64le", 0)]
)
def test_samples_of_any_type_are_as_loud(codec, error, tmp_path):
    heard = read_sound(write(tmp_path / "a.mov", ([VOICE], "mono", codec)), 16_000)
    assert np.abs(heard - VOICE).max() <= error


@pytest.mark.parametrize("suffix", ["mkv", "mov", "ts"])
@pytest.mark.parametrize(("first", "start"), [(0.0, 0.4), (0.4, 0.0), (2.0, 2.0)])
def test_sound_is_placed_from_the_first_picture(suffix, first, start, tmp_path):
    """Late, early, or with a film that begins late; whatever the container's clock. The voice swells at 0.6 s."""
    swelling = VOICE * np.exp(-np.square((np.arange(16_000) / 16_000 - 0.6) / 0.05)).astype(np.float32)
    codec = "mp2" if suffix == "ts" else "pcm_s16le"
    file = write(tmp_path / f"a.{suffix}", ([swelling], "mono", codec, 16_000, start), pictures=30, first=first)
    heard = read_sound(file, 16_000)
    middle = np.average(np.arange(len(heard)), weights=np.square(heard)) / 16_000
    assert middle == pytest.approx(0.6 + start - first, abs=0.045 if suffix == "ts" else 0.002)


def test_sound_alone_begins_with_its_own_start(tmp_path):
    heard = read_sound(write(tmp_path / "a.mkv", ([VOICE], "mono", "pcm_s16le", 16_000, 3.0)), 16_000)
    assert len(heard) == 16_000 and np.abs(heard - VOICE).max() < 1e-3


def test_a_gap_in_the_stamps_is_silent(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream, frame = track(container, [VOICE], "mono")
        container.mux(stream.encode(frame))
        frame = av.AudioFrame.from_ndarray(VOICE[None].copy(), format="flt", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = 16_000, Fraction(1, 16_000), 24_000
        container.mux([*stream.encode(frame), *stream.encode()])
    heard = read_sound(tmp_path / "a.mkv", 16_000)
    assert np.abs(heard - np.concatenate([VOICE, SILENCE[:8000], VOICE])).max() < 1e-3


def test_a_silent_track_gives_way_to_one_that_speaks(tmp_path):
    file = write(tmp_path / "a.mkv", ([SILENCE], "mono"), ([VOICE, VOICE], "stereo"), pictures=5)
    assert np.abs(read_sound(file, 16_000) - VOICE).max() < 1e-3
    silent = read_sound(write(tmp_path / "b.mkv", ([SILENCE], "mono"), ([SILENCE], "mono")), 16_000)
    assert len(silent) == 16_000 and not silent.any()


def test_samples_beyond_full_scale_are_cut_off_or_refused(tmp_path):
    heard = read_sound(write(tmp_path / "a.mkv", ([4 * VOICE], "mono")), 16_000)
    assert np.abs(heard - (4 * VOICE).clip(-1, 1)).max() < 1e-6
    for values, message in (
        (VOICE * 32768, "samples of up to 131"),
        (np.where(VOICE > 0.39, np.nan, VOICE), "not numbers"),
    ):
        with pytest.raises(UserError, match=message):
            read_sound(write(tmp_path / "b.mkv", ([values], "mono")), 16_000)
