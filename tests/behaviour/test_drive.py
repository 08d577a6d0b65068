"""Driving a small fitted run through the command line."""

import io
import json
import re
import shutil
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from websockets.sync.client import connect

from talkingavatar.audio.incoming import Incoming
from talkingavatar.audio.reading import read_sound
from talkingavatar.drive import main
from talkingavatar.engine.fitted import load_run
from talkingavatar.engine.measuring.stream_bench import _untrained
from talkingavatar.engine.media.stream import StreamWriter
from talkingavatar.engine.performing.controls import Controls
from talkingavatar.engine.performing.live import Show, Told
from talkingavatar.engine.performing.perform import DriveConfig
from talkingavatar.engine.performing.performance import Request
from talkingavatar.export import main as export
from talkingavatar.exporters.bake_file import read_baked
from talkingavatar.preprocessing.landmarks.csv_table import read_csv
from talkingavatar.splatting.files import read_ply
from talkingavatar.view import main as view
from tests.browser import Browser, executable
from tests.conftest import TINY, cold
from tests.viewer.serving import ask

FPS = 24.5  # of the capture that is driven: no whole number
PAGE = """Object.assign(window, {
  until: async (done) => { while (!done()) await new Promise((next) => setTimeout(next, 20)); },
  text: (id) => document.getElementById(id).textContent,
  ask: (words) => {
    document.getElementById('prompt').value = words;
    document.getElementById('words').requestSubmit();
  },
  press: (key) => app.stage.canvas.dispatchEvent(new KeyboardEvent('keydown', {key})),
  seen: async () => {
    app.dirty = true;
    for (let n = 0; n < 2; n++) await new Promise(requestAnimationFrame);
    return (await app.stage.renderer.pixels()).reduce((sum, value, place) => sum + value * (place % 251), 0);
  },
}); 1"""  # what the test of the page asks it


@pytest.fixture(scope="module")
def capture(cache, tmp_path_factory) -> Path:
    """A tiny embedded capture, brought to an odd frame rate."""
    from talkingavatar.config.compose import compose
    from talkingavatar.engine.build import build_data

    config = compose(["data.seconds=2", "data.size=64", "trainer.progress=false"])
    folder = tmp_path_factory.mktemp("drive") / "capture"
    shutil.copytree(build_data(config).capture.folder, folder, ignore=shutil.ignore_patterns("features"))
    manifest = json.loads((folder / "capture.json").read_text())
    (folder / "capture.json").write_text(json.dumps(manifest | {"fps": FPS}))
    Image.new("RGB", (64, 64), (10, 200, 30)).save(folder / "background.png")
    return folder


@pytest.fixture(scope="module")
def fitted(capture, warm) -> Path:
    """A run that was stopped on its way: what has a checkpoint can be driven."""
    run = capture.parent / "run"
    overrides = [*TINY, "data=capture", f"data.path={capture}", f"run.path={run}", "run.stop_after=20"]
    done = warm.start("fit", *overrides).finish(300)
    assert done.returncode == 75, done.stderr
    return run


def video_of(done) -> Path:
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("video: ")
    return Path(last.removeprefix("video: "))


def test_new_speech_gives_a_video_as_long_as_the_sound(command, fitted, tmp_path):
    """A click track, at an odd rate and of an odd length: each click is heard where it was."""
    rate, clicks = 22050, (0.31, 0.9, 1.777)
    sound = np.zeros(round(2.123 * rate))
    for second in clicks:
        sound[round(second * rate) : round(second * rate) + 60] = 0.7
    soundfile.write(tmp_path / "clicks.wav", np.stack([sound, sound], 1), rate)
    video = video_of(command("drive", f"run={fitted}", f"audio={tmp_path / 'clicks.wav'}"))
    assert video == fitted / "media" / "drive-clicks.mp4"
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert float(stream.average_rate) == FPS and len(frames) == round(2.123 * FPS) == stream.frames
    assert frames[0].shape == (64, 64, 3) and frames[0].std() > 10
    heard = read_sound(video, 48000)
    assert abs(len(heard) / 48000 - len(frames) / FPS) < 1 / FPS
    for second in clicks:
        around = slice(round((second - 0.1) * 48000), round((second + 0.1) * 48000))
        assert abs((around.start + np.abs(heard[around]).argmax()) / 48000 - second) < 0.01
    report = json.loads(video.with_suffix(".json").read_text())
    assert report["frames"] == len(frames) and report["frames_per_s"] > 0
    assert {row["what"] for row in report["lips"]} == {
        "held-out, as tracked", "held-out, from its sound", "performance, body", "performance, Gaussians",
    }  # fmt: skip
    assert len(list(fitted.glob("mouth-*.npz"))) == 1


def test_the_same_command_gives_the_same_frames(command, fitted, capture, tmp_path):
    sounds = [f"audio={capture / 'audio.flac'}", "start=0.2", "stop=0.6"]
    films = []
    for name, run in (("a", command), ("b", cold)):
        video = video_of(run("drive", f"run={fitted}", *sounds, f"out={tmp_path / name}.mp4"))
        with av.open(str(video)) as container:
            films.append(np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)]))
    assert len(films[0]) == 10 and np.array_equal(*films)
    assert {file.name for file in tmp_path.iterdir()} == {f"{n}{s}" for n in "ab" for s in (".mp4", ".json", ".au.csv")}
    assert np.abs(np.diff(films[0].astype(int), axis=0)).max() > 10  # it moves


def test_a_face_is_edited_by_words_and_units(command, fitted, capture, tmp_path):
    asked = ["emotion=neutral, then furious from 0.2s", "au=AU45=5"]
    sounds = [f"run={fitted}", f"audio={capture / 'audio.flac'}", "start=0.2", "stop=0.7"]
    films, faces = [], []
    for name, given in {"plain": [], "edited": asked}.items():
        video = video_of(command("drive", *sounds, *given, f"out={tmp_path / name}.mp4"))
        faces.append(read_csv(video.with_suffix(".au.csv")).numbers(["AU04_r", "AU45_r"]))
        with av.open(str(video)) as container:
            films.append(np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)]).astype(int))
    assert faces[1][0, 0] < 0.01 and faces[1][-2:].min() > 4.99 and faces[1][:, 1].min() > 4.99 > faces[0].max()
    assert len(films[0]) == len(faces[0]) == 12 and np.abs(films[1][-1] - films[0][-1]).max() > 20
    report = json.loads(video.with_suffix(".json").read_text())
    assert report["edit"] == {"emotion": asked[0][8:], "au": "AU45=5", "rule": "floor"} and report["notes"] == []


def test_from_baked_arrays_it_is_the_same_video(fitted, tmp_path):
    soundfile.write(tmp_path / "blip.wav", np.random.default_rng(0).normal(0, 0.1, 3200), 16000)
    pictures = []
    for fast in ("false", "true"):
        video = tmp_path / f"{fast}.mp4"
        assert main([f"run={fitted}", f"audio={tmp_path / 'blip.wav'}", f"fast={fast}", f"out={video}"]) == 0
        with av.open(str(video)) as container:
            pictures.append(np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)]).astype(float))
    assert len(pictures[1]) == round(0.2 * FPS)
    report = json.loads((tmp_path / "true.json").read_text())
    assert report["fast_psnr_db"] > 45 and json.loads((tmp_path / "false.json").read_text())["fast_psnr_db"] is None
    assert 10 * np.log10(255**2 / np.square(pictures[0] - pictures[1]).mean().clip(1e-6)) > 40  # H.264 between them


def test_sound_through_a_pipe_is_spoken_as_it_comes(fitted, tmp_path):
    """All frames, or where sound comes faster than it is spoken, those that are not too late for it."""
    trained = load_run(fitted)
    trained = replace(trained, driver=_untrained(trained.body))
    content = io.BytesIO()
    soundfile.write(content, np.random.default_rng(0).normal(0, 0.1, 44_100), 44_100, format="WAV")
    for live in (False, True):
        told, file = Told(), tmp_path / "live.mp4"
        incoming = Incoming(io.BufferedReader(io.BytesIO(content.getvalue())))
        show = Show(DriveConfig(fitted, Request(controls=Controls(distance=1.2)), "#204080", live=live), trained, None)
        with StreamWriter(file, show.fps, *show.size) as writer:
            show.run(incoming, writer, told)
        with av.open(str(file)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert (told.seconds, told.frames) == (pytest.approx(1.0), 25) and len(frames) == 25 - told.late
        assert (told.late > 5) == live
        assert np.abs(frames[0].astype(int) - frames[-1]).max() > 10  # it moves
        assert live or abs(len(read_sound(file, 48_000)) - 48_000) < 1024  # of a block of AAC


@pytest.mark.parametrize(("background", "colour"), [("#204080", (32, 64, 128)), ("plate", (10, 200, 30))])
def test_background_and_another_captures_motion(command, fitted, capture, tmp_path, background, colour):
    done = command(
        "drive", f"run={fitted}", f"motion={capture}", "start=1.5", "stop=1.7", f"background={background}",
        f"out={tmp_path / 'new' / 'v.mp4'}",
    )  # fmt: skip
    video = video_of(done)
    with av.open(str(video)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert len(frames) == 5
    assert np.abs(frames[0][:6, :6].astype(int) - np.array(colour)).max() < 25
    assert json.loads(video.with_suffix(".json").read_text())["mouth"] is None


def test_silence_and_motion_with_another_sound(command, fitted, capture, tmp_path):
    soundfile.write(tmp_path / "still.flac", np.zeros(4000), 8000)
    done = command("drive", f"run={fitted}", f"motion={capture}", f"audio={tmp_path / 'still.flac'}")
    report = json.loads(video_of(done).with_suffix(".json").read_text())
    rows = {row["what"]: row for row in report["lips"]}
    assert report["frames"] == 12 and rows["performance, body"]["std_mm"] < 0.1
    assert rows["performance, body"]["mean_mm"] < rows["held-out, as tracked"]["mean_mm"]


def test_a_mistake_is_one_line_and_exit_code_2(command, fitted):
    done = command("drive", f"run={fitted}", "audio=none.wav")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: audio: found none.wav") and done.stderr.count("\n") == 1


def test_mistakes(fitted, capture, tmp_path, capsys):
    audio, run = f"audio={capture / 'audio.flac'}", f"run={fitted}"
    (tmp_path / "bare").mkdir()
    shutil.copy(fitted / "config.yaml", tmp_path / "bare" / "config.yaml")
    (tmp_path / "bad.wav").write_bytes(b"RIFF rubbish" * 99)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    soundfile.write(tmp_path / "blip.wav", np.zeros(200), 16000)
    other = shutil.copytree(capture, tmp_path / "other")
    manifest = json.loads((other / "capture.json").read_text())
    (other / "capture.json").write_text(json.dumps(manifest | {"body": {"smplx": "0" * 64}}))
    for arguments, expected in {
        (audio,): "run: found nothing",
        (f"run={tmp_path / 'none'}", audio): "no such folder",
        (f"run={tmp_path / 'bare'}", audio): "no checkpoint",
        (run,): "audio: found nothing",
        (run, f"audio={tmp_path / 'bad.wav'}"): "not readable",
        (run, f"audio={tmp_path / 'empty.wav'}"): "empty.wav",
        (run, f"audio={tmp_path / 'blip.wav'}"): "at least one frame",
        (run, audio, "start=5"): "start, stop",
        (run, audio, "emotion=hapy"): "emotion: found 'hapy'",
        (run, audio, "emotion=happy at 9s"): "emotion: happy: found 9 s",
        (run, audio, "au=AU12=9"): "au: found AU12=9",
        (run, audio, "au=none.csv"): "au: found none.csv",
        (run, audio, "emotion=happy", "edit=publish"): "edit: found 'publish'",
        (run, audio, "start=early"): "start: found 'early'",
        (run, audio, "background=greenish"): "background",
        (run, audio, "out=film.avi"): "ends in .mp4",
        (run, audio, "sed=2"): "did you mean seed",
        (run, audio, "live=true"): "live: found a whole sound",
        (run, audio, "out=-"): "out: found a whole sound",
        (run, "audio=-", "start=1"): "start: found 1",
        (run, "audio=-", "samples=2"): "samples: found 2",
        (run, "audio=-", "au=units.csv"): "au: found units.csv",
        (run, f"motion={tmp_path / 'nobody'}"): "no such folder",
        (run, f"motion={other}"): "the run's body",
    }.items():
        assert main(list(arguments)) == 2
        shown = capsys.readouterr().err
        assert expected in shown and shown.count("error: ") == 1, shown


def test_an_avatar_leaves_as_files_of_other_programs(command, fitted, tmp_path):
    soundfile.write(tmp_path / "blip.wav", np.full(2560, 0.1), 16000)
    given = [f"run={fitted}", f"audio={tmp_path / 'blip.wav'}", f"out={tmp_path}", "frame=3", "actions=jawOpen=1"]
    done = command("export", *given, "to=ply,splat,spz,sog,glb,frames,html")
    assert done.returncode == 0 and "use: the body's shapes are CC0" in done.stdout, done.stderr
    files = {Path(line[6:]).name for line in done.stdout.splitlines() if line.startswith("file: ")}
    assert files == {
        *(f"avatar-3.{name}" for name in ("ply", "splat", "spz", "sog", "glb")),
        "frames-blip",
        "avatar-blip.html",
    }
    sequence = sorted(file.name for file in (tmp_path / "frames-blip").iterdir())
    assert sequence == [f"{t:06d}.ply" for t in range(round(0.16 * FPS))]
    opened, moving = read_ply(tmp_path / "avatar-3.ply"), read_baked(tmp_path / "avatar-3.glb")
    assert moving.manifest["use"] == "the body's shapes are CC0" and len(moving.avatar) == len(opened)
    spoken = read_ply(tmp_path / "frames-blip" / "000000.ply")
    assert len(opened) == len(spoken) and len((tmp_path / "avatar-3.splat").read_bytes()) == 32 * len(opened)
    moved = read_baked(tmp_path / "avatar-3.glb")
    assert moved.manifest["errors"] == json.loads((tmp_path / "avatar-3.json").read_text()) and len(
        moved.avatar
    ) == len(opened)
    assert "baked against the method: pictures" in done.stdout
    assert 'data-path="/avatars/0/sound.wav"' in (tmp_path / "avatar-blip.html").read_text()
    assert opened.means[:, 1].mean() < 0 and not torch.allclose(opened.means, spoken.means)  # turned: y is down


def test_mistakes_of_an_export(fitted, capsys):
    run = f"run={fitted}"
    for arguments, expected in {
        ("to=ply",): "run: found nothing",
        (run,): "to: found nothing",
        (
            run,
            "to=ply,gbl",
        ): "to: found 'gbl'; expected one of ply, splat, spz, sog, glb, html, frames; did you mean glb?",
        (run, "to=frames"): "audio: found nothing",
        (run, "to=ply", "audio=a.wav"): "audio: found a.wav",
        (run, "to=ply", "frame=900"): "frame: found 900; expected a frame of the capture",
        (run, "to=ply", "actions=jawOpe=1"): "did you mean jawOpen",
        (run, "to=ply", "actions=jawOpen"): "actions: found 'jawOpen'",
        (run, "to=html", "most=0,99.5"): "most: found baked against the method",
        (run, "to=ply", "actions=jawOpen=9"): "actions:jawOpen: found '9'",
    }.items():
        assert export(list(arguments)) == 2
        shown = capsys.readouterr().err
        assert expected in shown and shown.count("error: ") == 1, shown


@pytest.fixture
def viewing(start, fitted):
    """The command at work, and its port."""
    command = start("view", f"run={fitted}", "port=0")
    said, until = "", time.monotonic() + 100
    while "view: " not in said and command.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
        said = Path(f"/proc/self/fd/{command.files[0].fileno()}").read_text()
    port = re.search(r"^view: http://localhost:(\d+)$", said, re.MULTILINE)
    assert port, command.finish(1).stderr
    assert f"ssh -L {port[1]}:localhost:{port[1]} " in said
    yield int(port[1])
    command.send_signal(signal.SIGINT)
    done = command.finish(30)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_avatar_is_shown_to_a_browser(viewing, tmp_path):
    """The addresses of a run, and the page that reads them: it moves in time, by hand and by words."""
    told = json.loads(ask(viewing, "/avatars/0.json")[1])
    assert (told["frames"], told["fps"], told["live"]) == (50, FPS, None) and told["heldout"] == [[40, 50]]
    assert "hears the whole sound first" in told["notes"][0]
    motion = np.frombuffer(ask(viewing, "/avatars/0/motion")[1], "<f4").reshape(50, -1)
    np.testing.assert_allclose(np.linalg.norm(motion[:, : 4 * 55].reshape(50, 55, 4), axis=2), 1, atol=1e-5)
    assert ask(viewing, "/avatars/0/frames/49.jpg")[1][:2] == b"\xff\xd8"
    assert ask(viewing, "/avatars/0/sound.wav")[1][:4] == b"RIFF" and ask(viewing, "/avatars/0.glb")[1][:4] == b"glTF"
    with connect(f"ws://localhost:{viewing}/live") as page:
        assert json.loads(page.recv())["hello"] is None
    if executable() is None:
        pytest.skip("no Chromium on the PATH")
    with Browser(tmp_path / "profile", 640, 480, webgl=True) as browser:
        browser.open(f"http://localhost:{viewing}/")
        browser.run(PAGE)
        assert browser.run("until(() => text('message') !== 'Opening…').then(() => text('message'))") == ""
        first = browser.run("seen()")
        pictures = [first]
        for act in (
            "app.clock.time = 1.7",
            """app.load('{"joints": {"head": [0, 40, 0]}}')""",
            """app.load('{"actions": {"jawOpen": 1}}')""",
            "press('ArrowLeft')",
        ):
            browser.run(f"{act}; 1")
            pictures.append(browser.run("seen()"))
        assert len(set(pictures)) == len(pictures)
        browser.run("press('0'); document.getElementById('reset').click(); app.clock.time = 0; 1")
        assert browser.run("seen()") == first
        browser.run("ask('very happy'); until(() => text('asked'))")
        assert browser.run("text('asked')") == "Asked: very happy" and browser.run("app.asks.length") == 1
        browser.run("document.getElementById('reset').click(); ask('xyzzy'); until(() => text('asked'))")
        assert "emotion" in str(browser.run("text('asked')"))
        assert browser.errors == []


def test_mistakes_of_a_view(fitted, tmp_path, capsys):
    (tmp_path / "bare").mkdir()
    shutil.copy(fitted / "config.yaml", tmp_path / "bare" / "config.yaml")
    (tmp_path / "text.glb").write_text("no avatar")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, expected in {
            (): "run, sweep: found nothing",
            (f"run={fitted}", f"sweep={tmp_path}"): "run, sweep: found both",
            (f"sweep={tmp_path / 'nowhere'}",): "sweep",
            (f"run={tmp_path / 'none'}", "port=0"): "no such folder",
            (f"run={tmp_path / 'bare'}", "port=0"): "no checkpoint",
            (f"run={tmp_path / 'text.glb'}", "port=0"): "another kind of file",
            (f"run={tmp_path / 'none.glb'}", "port=0"): "No such file",
            (f"run={fitted}", "port=70000"): "port: found '70000'",
            (f"run={fitted}", f"port={port}"): f"port: found 127.0.0.1:{port}",
            (f"run={fitted}", "host=256.1.1.1", "port=0"): "port: found 256.1.1.1:0",
            (f"run={fitted}", "emotion=happy"): "emotion: found no sound",
            (f"run={fitted}", "audio=none.wav", "port=0"): "audio: found none.wav",
            (f"run={fitted}", "pot=1"): "did you mean port",
        }.items():
            assert view(list(arguments)) == 2
            shown = capsys.readouterr().err
            assert expected in shown and shown.count("error: ") == 1, shown
