import json

import numpy as np
import pytest

from talkingavatar.audio.features import RATE
from talkingavatar.errors import UserError
from talkingavatar.preprocessing.clip import INGEST_VERSION, Clip, Cutout, ingest
from talkingavatar.preprocessing.decode import pictures, probe, sane_rate, sound
from talkingavatar.preprocessing.stages import Stage, run_stage
from tests.preprocessing.videos import number_of, numbered, rotate, tone, write_video


def no_progress(title, total):
    return lambda: None


def make(file, folder, cutout=None, need_sound=False) -> Clip:
    folder.mkdir(parents=True, exist_ok=True)
    ingest(file, cutout or Cutout(), need_sound, folder, no_progress)
    return Clip(folder)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    file = tmp_path_factory.mktemp("video") / "plain.mp4"
    return write_video(file, [numbered(i) for i in range(50)], sound=tone(2))


def test_every_frame_arrives_once_and_in_order(video, tmp_path):
    clip = make(video, tmp_path)
    assert (clip.fps, clip.width, clip.height, clip.frames) == (25.0, 160, 96, 50)
    assert [number_of(clip.frame(i)) for i in range(50)] == list(range(50))
    assert [number_of(p) for p in clip.source_frames(7)] == list(range(7, 50))
    assert clip.audio.shape == (2 * RATE,) and clip.has_sound


@pytest.mark.parametrize("codec", ["libx265", "libvpx-vp9"])
def test_other_codecs_read_the_same(codec, tmp_path):
    file = write_video(tmp_path / "clip.mp4", [numbered(i) for i in range(30)], codec=codec)
    assert [number_of(p) for p in pictures(probe(file), 25)] == list(range(30))


def test_a_variable_rate_keeps_the_clock(tmp_path):
    """Frames at irregular times: each frame of the constant rate shows what was there, within half an interval."""
    rng = np.random.default_rng(0)
    intervals = rng.choice([1 / 30, 2 / 30, 1 / 15], size=60)
    times = np.concatenate([[0.0], np.cumsum(intervals)[:-1]])
    file = write_video(tmp_path / "phone.mp4", [numbered(i) for i in range(60)], fps=30, times=times.tolist())
    source = probe(file)
    assert source.rate == pytest.approx(59 / times[-1], rel=0.01)
    clip = make(file, tmp_path / "ingest")
    assert clip.frames == round(source.seconds * clip.fps)
    shown = np.array([number_of(clip.frame(i)) for i in range(clip.frames)])
    wanted = np.arange(clip.frames) / clip.fps
    nearest = np.abs(times[None] - wanted[:, None]).min(1)
    assert np.all(np.abs(times[shown] - wanted) <= nearest + 1e-3)
    assert clip.audio.shape == (round(clip.frames / clip.fps * RATE),)


@pytest.mark.parametrize(("degrees", "turns"), [(90, -1), (180, 2), (270, 1)])
def test_rotation_flags_are_applied(degrees, turns, tmp_path):
    plain = numbered(5)
    file = rotate(write_video(tmp_path / "phone.mp4", [plain] * 30), degrees)
    picture = next(pictures(probe(file), 25))
    expected = np.rot90(plain, turns)
    assert picture.shape == expected.shape == ((96, 160, 3) if degrees == 180 else (160, 96, 3))
    assert np.abs(picture.astype(int) - expected).mean() < 8
    clip = make(file, tmp_path / "ingest")
    assert (clip.height, clip.width) == expected.shape[:2]


def test_sound_keeps_its_place(tmp_path):
    """A click at 1.2 s is heard at 1.2 s, also where the sound track starts late and the clip is cut out."""
    click = np.zeros(2 * RATE, np.float32)
    click[round(1.2 * RATE) : round(1.2 * RATE) + 160] = 0.9
    late = round(0.5 * RATE)
    whole = write_video(tmp_path / "whole.mp4", [numbered(i) for i in range(50)], sound=click)
    after = write_video(tmp_path / "late.mp4", [numbered(i) for i in range(50)], sound=click[late:], sound_start=0.5)
    for file in (whole, after):
        heard = sound(probe(file), 0.0, 2.0)
        assert len(heard) == 2 * RATE
        assert abs(np.abs(heard).argmax() / RATE - 1.205) < 0.02
        part = sound(probe(file), 0.8, 1.0)
        assert abs(np.abs(part).argmax() / RATE - 0.405) < 0.02


def test_a_cutout_is_the_same_part_of_the_clip(video, tmp_path):
    cutout = Cutout(start=0.4, end=1.6, crop=(0, 0, 160, 64), size=80)
    clip = make(video, tmp_path, cutout)
    assert (clip.width, clip.height, clip.frames) == (80, 32, 30)
    pictures = list(clip.source_frames())
    assert pictures[0].shape == (64, 160, 3) and len(pictures) == 30
    whole = make(video, tmp_path / "whole")
    assert np.array_equal(pictures[3], whole.frame(13)[:64])
    scale_x, scale_y, offset_x, offset_y = clip.to_capture
    assert (160 * scale_x + offset_x, 64 * scale_y + offset_y) == (80, 32)


def test_a_late_start_is_found_by_seeking(tmp_path):
    file = write_video(tmp_path / "long.mp4", [numbered(i) for i in range(150)])
    assert [number_of(p) for p in pictures(probe(file), 25, start=4.0, end=5.0)] == list(range(100, 125))


@pytest.mark.parametrize(
    ("rate", "sane"),
    [
        (25, 25),
        (29.97, 30000 / 1001),
        (30.02, 30),
        (60, 30),
        (59.94, 30000 / 1001),
        (50, 25),
        (240, 30),
        (27.1, 25),
        (9, 10),
    ],
)
def test_usual_rates(rate, sane):
    assert sane_rate(rate) == pytest.approx(sane)


@pytest.mark.parametrize(("start", "end"), [(2.5, None), (1.5, 1.0), (100.0, 200.0)])
def test_a_part_lies_inside_the_video(video, start, end, tmp_path):
    with pytest.raises(UserError, match=r"^start, end: .* of 2\.00 s"):
        make(video, tmp_path, Cutout(start=start, end=end))


def test_what_was_taken_of_the_source_is_told(tmp_path):
    file = write_video(tmp_path / "fast.mp4", [numbered(i) for i in range(100)], fps=50)
    clip = make(file, tmp_path / "ingest", Cutout(start=0.4))
    assert clip.source_count == 100 and clip.taken == list(range(20, 100, 2))
    assert [number_of(clip.frame(i)) for i in range(clip.frames)] == clip.taken


def test_an_interrupted_ingest_reads_no_frame_twice(video, tmp_path):
    stage = Stage("ingest", INGEST_VERSION)

    class Killed(Exception):
        pass

    def stop_at_20(title, total):
        count = iter(range(20))

        def advance():
            if next(count, None) is None:
                raise Killed

        return advance

    with pytest.raises(Killed):
        run_stage(tmp_path, stage, lambda folder: ingest(video, Cutout(), False, folder, stop_at_20))
    assert not (tmp_path / "ingest").exists()
    before = {f.name: f.stat().st_mtime_ns for f in (tmp_path / "ingest.partial/frames").glob("*.png")}
    assert len(before) >= 12
    folder = run_stage(tmp_path, stage, lambda folder: ingest(video, Cutout(), False, folder, no_progress))
    after = {f.name: f.stat().st_mtime_ns for f in (folder / "frames").glob("*.png")}
    assert len(after) == 50 and before.items() <= after.items()
    fresh = make(video, tmp_path / "fresh")
    assert all(np.array_equal(fresh.frame(i), Clip(folder).frame(i)) for i in range(50))
    assert json.loads((folder / "ingest.json").read_text()) == fresh.facts


def corrupt(file):
    file.write_bytes(b"not a video" * 100)
    return "unreadable"


def cut_off(file):
    content = write_video(file, [numbered(i) for i in range(50)]).read_bytes()
    file.write_bytes(content[: len(content) // 2])
    return "unreadable"


def cut_off_stream(file):
    """A container that is read from its front: the pictures just end early."""
    noise = [np.random.default_rng(i).integers(0, 255, (96, 160, 3), np.uint8) for i in range(50)]
    content = write_video(file.with_suffix(".mkv"), noise).read_bytes()
    file.write_bytes(content[: len(content) // 5])
    return r"frames \(0\.\d\d s\); expected at least 1 s"


def only_sound(file):
    import soundfile

    soundfile.write(file.with_suffix(".wav"), tone(2), RATE)
    file.with_suffix(".wav").rename(file)
    return "no picture track"


def absent(file):
    return "no such file"


def three_frames(file):
    write_video(file, [numbered(i) for i in range(3)])
    return r"3 frames \(0.12 s\); expected at least 1 s"


@pytest.mark.parametrize("damage", [corrupt, cut_off, cut_off_stream, only_sound, absent, three_frames])
def test_bad_files_are_refused(damage, tmp_path):
    file = tmp_path / "clip.mp4"
    message = damage(file)
    with pytest.raises(UserError, match=message) as caught:
        make(file, tmp_path / "ingest")
    assert "\n" not in str(caught.value)


def test_speech_is_asked_for(video, tmp_path):
    mute = write_video(tmp_path / "mute.mp4", [numbered(i) for i in range(30)])
    with pytest.raises(UserError, match="no sound track"):
        make(mute, tmp_path / "a", need_sound=True)
    silent = write_video(tmp_path / "silent.mp4", [numbered(i) for i in range(30)], sound=np.zeros(RATE))
    with pytest.raises(UserError, match="silence"):
        make(silent, tmp_path / "b", need_sound=True)
    assert not make(mute, tmp_path / "c").has_sound and not make(silent, tmp_path / "d").has_sound


@pytest.mark.parametrize("crop", [(0, 0, 161, 96), (10, 10, 10, 90), (0, 0, 40, 40)])
def test_a_crop_lies_inside_the_picture(video, crop, tmp_path):
    with pytest.raises(UserError, match="crop"):
        make(video, tmp_path, Cutout(crop=crop))
