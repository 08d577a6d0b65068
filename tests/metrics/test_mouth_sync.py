from pathlib import Path

import av
import numpy as np
import pytest
import torch

from talkingavatar.audio.features import RATE
from talkingavatar.config.compose import compose
from talkingavatar.data.capture import Capture
from talkingavatar.data.speaker.record import speaker_capture
from talkingavatar.errors import UserError
from talkingavatar.metrics.mouth_sync import COLUMNS, ROWS, MouthTrack, face_boxes
from talkingavatar.preprocessing.sync import shifted

FPS, FRAMES = 25.0, 300
SEEN_BOX = np.array([4.0, 4.0, 36.0, 28.0])
PAIR = Path(__file__).parents[3] / "shared/media/sync"
PAIR_BOX = np.array([70.0, 95.0, 150.0, 150.0])
MP3_DELAY = 1105  # samples by which LAME and its decoder move a sound later; an avi does not declare it


@pytest.fixture(scope="module")
def speaker(cache):
    """The embedded speaker's mouth, a few pixels wide, and what is said."""
    config = compose([f"data.seconds={FRAMES / FPS:.0f}", "data.size=96"]).data
    capture = Capture(speaker_capture(config, lambda title, total: lambda: None))
    track = MouthTrack()
    for i, box in enumerate(face_boxes(capture.landmarks())):
        track.add(torch.from_numpy(capture.frame(i)) / 255, box)
    return track, capture.audio


@pytest.mark.parametrize("late", [-10, -6, -1, 0, 3, 10])
def test_a_planted_shift_of_the_speaker_is_found(speaker, late):
    track, samples = speaker
    sync = track.sync(shifted(samples, -late, FPS), FPS)
    assert sync.offset == pytest.approx(-late, abs=1.0) and sync.sure
    assert sync.shifts[sync.curve.argmax()] == round(sync.offset) and sync.curve.max() == sync.r


def test_foreign_sound_is_not_believed(speaker):
    track, samples = speaker
    for seconds in (3, 5, 7):
        assert not track.sync(np.roll(samples, seconds * RATE), FPS).sure


def test_no_sound_is_heard_across_a_cut(speaker):
    track, samples = speaker
    shots = [(0, 140), (140, FRAMES)]
    assert track.sync(samples, FPS, shots).offset == pytest.approx(0, abs=1)
    # Scenes swapped in sound and picture alike are still in sync, shot by shot.
    swapped = MouthTrack()
    swapped._patches = track._patches[140:] + track._patches[:140]
    sound = np.concatenate([samples[140 * 640 :], samples[: 140 * 640]])
    assert swapped.sync(sound, FPS, [(0, 160), (160, FRAMES)]).offset == pytest.approx(0, abs=1)


def read_pair(shift):
    """Pictures and sound; the mp3 sound freed of its codec's delay."""
    with av.open(str(PAIR / f"test_offset_{shift}.avi")) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    with av.open(str(PAIR / f"test_offset_{shift}.avi")) as file:
        to_mono = av.AudioResampler("s16", "mono", RATE)
        parts = [out.to_ndarray()[0] for frame in file.decode(audio=0) for out in to_mono.resample(frame)]
        delay = MP3_DELAY if file.streams.audio[0].codec_context.name.startswith("mp3") else 0
    return frames, (np.concatenate(parts) / 32768).astype(np.float32)[delay:]


@pytest.mark.skipif(not PAIR.is_dir(), reason="the pair in ../shared/media/sync is not there")
def test_the_pair_is_five_frames_apart():
    offsets = {}
    for shift in (0, 5):
        frames, samples = read_pair(shift)
        track = MouthTrack()
        for frame in frames:
            track.add(torch.from_numpy(frame) / 255, PAIR_BOX)
        sync = track.sync(samples, FPS)
        assert sync.sure
        offsets[shift] = sync.offset
    # The second one's sound is later, so it leads by less.
    assert offsets[0] - offsets[5] == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize(
    ("what", "why"), [("still", "does not move"), ("silent", "no sound"), ("short", "less than 3 s")]
)
def test_what_cannot_be_told_is_said(speaker, what, why):
    track, samples = speaker
    if what == "still":
        track = MouthTrack()
        picture = torch.rand(32, 40, 3)
        for _ in range(FRAMES):
            track.add(picture, SEEN_BOX)
    if what == "short":
        hidden = MouthTrack()
        hidden._patches = track._patches[:70]
        for _ in range(FRAMES - 70):
            hidden.add(torch.rand(32, 40, 3), np.full(4, np.nan))
        track = hidden
    if what == "silent":
        samples = np.zeros_like(samples)
    sync = track.sync(samples, FPS)
    assert sync.offset is None and why in sync.why and not sync.sure and np.isnan(sync.curve).all()


def test_a_patch_is_the_mean_of_what_each_cell_covers():
    track = MouthTrack()
    picture = torch.rand(2 * ROWS + 6, 2 * COLUMNS + 6, 3)
    track.add(picture, np.array([3.0, 3.0, 2 * COLUMNS + 3.0, 2 * ROWS + 3.0]))
    grey = picture.mean(-1)[3:-3, 3:-3].reshape(ROWS, 2, COLUMNS, 2).mean((1, 3))
    assert track._patches[0] == pytest.approx(grey.numpy(), abs=1e-6)
    # Beyond the border its last pixel goes on.
    track.add(picture, np.array([-COLUMNS, 0.0, 0.0, ROWS]))
    expected = picture.mean(-1)[:ROWS, :1].expand(-1, COLUMNS)
    assert track._patches[1] == pytest.approx(expected.numpy(), abs=1e-6)


def test_what_is_kept_does_not_grow_with_the_pictures():
    small, large = MouthTrack(), MouthTrack()
    for _ in range(3):
        small.add(torch.rand(32, 40, 3), SEEN_BOX)
        large.add(torch.rand(320, 400, 3), 10 * SEEN_BOX)
    for track in (small, large):
        assert sum(patch.nbytes for patch in track._patches) == 3 * 4 * ROWS * COLUMNS
        assert all(patch.base is None for patch in track._patches)


def test_boxes_do_not_follow_the_lips():
    rng = np.random.default_rng(0)
    landmarks = np.concatenate([rng.uniform(50, 90, (1, 68, 2)), np.ones((1, 68, 1))], -1).repeat(50, 0)
    still = face_boxes(landmarks)
    spoken = landmarks.copy()
    spoken[:20, 48:68, 1] += rng.uniform(0, 8, (20, 20))  # fewer than half of the frames: the median stays
    assert face_boxes(spoken) == pytest.approx(still)
    moved = landmarks.copy()
    moved[7, :, :2] += (3, -2)
    assert face_boxes(moved)[7] == pytest.approx(still[7] + (3, -2, 3, -2))


def test_mistakes_are_named(speaker):
    track, samples = speaker
    with pytest.raises(UserError, match="the length of the frames"):
        track.sync(samples[: 4 * RATE], FPS)
    with pytest.raises(UserError, match="cover 0 to 300"):
        track.sync(samples, FPS, [(0, 100)])
    with pytest.raises(UserError, match="finite pixels"):
        MouthTrack().add(torch.full((32, 40, 3), torch.nan), SEEN_BOX)
    with pytest.raises(UserError, match="x0 < x1"):
        MouthTrack().add(torch.rand(32, 40, 3), np.array([5.0, 5, 5, 9]))
