"""Whole preprocessings through the command line, of small clips made here."""

import json
import signal
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
import skimage.data
from PIL import Image

from talkingavatar.audio.speech import load_speech, voices
from talkingavatar.data.capture import Capture
from talkingavatar.errors import UserError
from tests.conftest import cold, imports_first, quick_help
from tests.preprocessing.videos import numbered, rotate, tone, write_video

FPS, FRAMES = 25, 50


def refused(done, *expected: str) -> None:
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.strip().splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in done.stderr
    for text in expected:
        assert text in errors[0]


@pytest.fixture(scope="session")
def mediapipe(cache) -> None:
    """MediaPipe's own environment; made on first use, which needs a package index."""
    from talkingavatar.preprocessing.landmarks.mediapipe_process import interpreter

    try:
        interpreter()
    except UserError as error:
        pytest.skip(f"MediaPipe cannot be installed here: {error}")


def portrait(shift: int = 0) -> np.ndarray:
    """A person's head and shoulders, 256 pixels."""
    picture = Image.fromarray(skimage.data.astronaut()).crop((60 - shift, 0, 400 - shift, 340))
    return np.asarray(picture.resize((256, 256), Image.Resampling.BOX))


def spoken(seconds: float) -> np.ndarray:
    return load_speech(voices()[0]).samples[: round(seconds * 16_000)].astype(np.float32)


@pytest.fixture(scope="module")
def person(tmp_path_factory) -> Path:
    """Two seconds of a face that sways."""
    pictures = [portrait(round(6 * np.sin(i / 6))) for i in range(FRAMES)]
    return write_video(tmp_path_factory.mktemp("person") / "person.mp4", pictures, FPS, sound=spoken(FRAMES / FPS))


def capture_of(output: str) -> Path:
    last = output.strip().splitlines()[-1]
    assert last.startswith("capture: ")
    return Path(last.removeprefix("capture: "))


def written(folder: Path) -> dict[str, int]:
    """When each file of finished stages and of the capture was written."""
    files = (
        f for f in folder.rglob("*") if f.is_file() and f.name not in (".lock", "report.json", "contact_sheet.png")
    )
    return {str(f.relative_to(folder)): f.stat().st_mtime_ns for f in files}


def test_a_clip_becomes_a_capture(command, mediapipe, person, tmp_path):
    done = command("preprocess", f"video={person}", "name=sway", TALKINGAVATAR_CAPTURES=str(tmp_path))
    assert done.returncode == 0, done.stderr
    folder = capture_of(done.stdout)
    assert folder == tmp_path / "sway"
    capture = Capture(folder)
    assert (capture.manifest.frames, capture.manifest.fps) == (FRAMES, 25.0)
    assert capture.train_frames == list(range(40)) and capture.test_frames == list(range(40, 50))
    assert capture.matte(0)[150, 128] > 240  # the face
    report = json.loads((folder / "work" / "report.json").read_text())
    assert report["seen"]["face"] == 1.0 and report["offset"]["frames"] is None
    before, after = (report["landmark_distance_px"][stage]["face"] for stage in ("vanilla", "+FMA"))
    assert after < before
    for title in ("landmarks", "mattes", "align", "left"):
        assert title in done.stderr
    with Image.open(folder / "work" / "contact_sheet.png") as sheet:
        assert sheet.width > 3 * sheet.height / 3
    with av.open(str(folder / "work" / "overlay" / "overlay.mp4")) as video:
        assert video.streams.video[0].frames == FRAMES and video.streams.audio
    before_again = written(folder)
    again = cold("preprocess", f"video={person}", "name=sway", TALKINGAVATAR_CAPTURES=str(tmp_path))
    assert again.returncode == 0 and written(folder) == before_again
    other = command("preprocess", f"video={person}", "name=sway", "sync=3", TALKINGAVATAR_CAPTURES=str(tmp_path))
    assert other.returncode == 0, other.stderr
    assert np.abs(Capture(folder).audio[:-2000] - capture.audio[1920:-80]).max() < 1e-3
    kept = {name: when for name, when in written(folder).items() if name.startswith(("work/landmarks", "work/align"))}
    assert kept and kept.items() <= before_again.items()


def test_killed_anywhere_it_goes_on(start, mediapipe, person, tmp_path):
    """Killed after ever longer times, without warning and with one, until it is through; no finished stage changes."""
    folder = tmp_path / "killed"
    words = ["preprocess", f"video={person}", f"out={folder}"]
    finished: dict[str, int] = {}
    for attempt in range(40):
        process = start(*words) if attempt else imports_first(*words)
        try:
            code = process.wait(timeout=1 + attempt)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM if attempt % 3 == 2 else signal.SIGKILL)
            code = process.wait(timeout=60)
            assert code in (-signal.SIGKILL, -signal.SIGTERM, 75, 0)
        stages = [f for f in (folder / "work").glob("*") if f.is_dir() and not f.name.endswith(".partial")]
        now = {f"{stage.name}/{k}": v for stage in stages if stage.name != "capture" for k, v in written(stage).items()}
        assert finished.items() <= now.items()
        finished = now
        if (folder / "capture.json").is_file():
            Capture(folder)
        if code == 0:
            break
    assert code == 0 and attempt >= 2
    assert Capture(folder).manifest.frames == FRAMES


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["vidoe=x.mp4"], "did you mean video"),
        (["video=x.mp4"], "no such file"),
        ([], "video: found nothing"),
        (["video=x.mp4", "crop=1,2,3"], "crop"),
        (["video=x.mp4", "landmarks=mediapip"], "did you mean mediapipe"),
        (["video=x.mp4", "landmarks=openface"], "landmarks_path"),
        (["video=x.mp4", "sync=late"], "sync"),
        (["video=x.mp4", "heldout=1.5"], "heldout"),
        (["x.mp4"], "key=value"),
    ],
)
def test_mistakes_are_named(command, arguments, expected, tmp_path):
    refused(command("preprocess", *arguments, TALKINGAVATAR_CAPTURES=str(tmp_path)), expected)


def no_sound(file):
    write_video(file, [numbered(i) for i in range(30)])
    return "no sound track"


def silence(file):
    write_video(file, [numbered(i) for i in range(30)], sound=np.zeros(19_200))
    return "silence"


def three_frames(file):
    write_video(file, [portrait()] * 3, sound=tone(0.2))
    return "3 frames (0.12 s)"


def corrupt(file):
    file.write_bytes(np.random.default_rng(0).bytes(50_000))
    return "unreadable"


def all_cuts(file):
    noise = np.random.default_rng(0).integers(0, 2, (10, 12, 16, 3), np.uint8) * 255
    pictures = [np.kron(noise[i // 5], np.ones((8, 8, 1), np.uint8)) for i in range(50)]
    write_video(file, pictures, sound=tone(2))
    return "9 cuts in 50 frames"


@pytest.mark.parametrize("bad", [no_sound, silence, three_frames, corrupt, all_cuts])
def test_a_clip_nothing_can_be_made_of(command, bad, tmp_path):
    file = tmp_path / "clip.mp4"
    expected = bad(file)
    refused(command("preprocess", f"video={file}", f"out={tmp_path / 'x'}"), expected)
    assert not (tmp_path / "x" / "capture.json").exists()


def test_no_face(command, mediapipe, tmp_path):
    room = np.asarray(Image.fromarray(skimage.data.coffee()).resize((256, 160)))
    file = write_video(tmp_path / "clip.mp4", [room] * 30, sound=tone(1.2))
    refused(command("preprocess", f"video={file}", f"out={tmp_path / 'x'}"), "no face")


def test_two_people(command, mediapipe, tmp_path):
    two = np.concatenate([portrait(), portrait()[:, ::-1]], axis=1)
    file = write_video(tmp_path / "clip.mp4", [two] * 30, sound=tone(1.2))
    refused(command("preprocess", f"video={file}", f"out={tmp_path / 'x'}"), "2 people", "crop=")


def test_a_phone_held_upright_gives_upright_frames(command, mediapipe, tmp_path):
    """Stored lying on its side, with a rotation flag and a variable rate; stopped at the first thing it lacks."""
    lying = np.rot90(np.pad(portrait(), ((60, 60), (0, 0), (0, 0)), mode="edge"), 1)
    times = np.cumsum(np.random.default_rng(0).choice([1 / 30, 1 / 15], 45)).tolist()
    file = rotate(write_video(tmp_path / "phone.mp4", [lying] * 45, 30, times=times, sound=tone(2)), 90)
    done = command("preprocess", f"video={file}", f"out={tmp_path / 'x'}", "body=smplx", "body_path=/nowhere")
    refused(done, "body")  # after ingest and landmarks
    facts = json.loads((tmp_path / "x" / "work" / "ingest" / "ingest.json").read_text())
    assert (facts["width"], facts["height"]) == (256, 376)
    assert abs(facts["frames"] / facts["fps"] - (times[-1] - times[0])) < 0.1
    from talkingavatar.preprocessing.keypoints import Keypoints

    assert (Keypoints.load(tmp_path / "x" / "work" / "landmarks" / "keypoints.npz").faces == 1).all()


def test_a_capture_made_otherwise_is_left_alone(command, person, tmp_path):
    (tmp_path / "capture.json").write_text("{}")
    refused(command("preprocess", f"video={person}", f"out={tmp_path}"), "made by something else")
    assert (tmp_path / "capture.json").read_text() == "{}"


def test_help_is_quick():
    assert "video=clip.mp4" in quick_help("preprocess")
