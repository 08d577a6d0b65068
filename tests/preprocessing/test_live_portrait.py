"""A portrait that LivePortrait moves becomes a film with latents."""

import json
import pickle

import numpy as np
import pytest
import soundfile
import torch

from talkingavatar.body.face_mesh import FaceMesh
from talkingavatar.body.models import load_body
from talkingavatar.config.preprocess import PreprocessConfig, read_arguments
from talkingavatar.data.capture import RATE
from talkingavatar.engine.media.writer import VideoWriter
from talkingavatar.errors import UserError
from talkingavatar.networks.mesh_code import MotionLatent
from talkingavatar.preprocessing.decode import pictures, probe
from talkingavatar.preprocessing.live_portrait import (
    CONFIDENCE,
    FACTS,
    FILM,
    FRAMES,
    Driving,
    _table,
    driving,
    move,
    preprocess_live_portrait,
)
from tests.live_portrait_weights import tiny_portrait, tiny_source, write_published

COUNT = 6


class Humming:
    """Tells of sound how loud it is."""

    name, personal = "JoyVASA", False

    def __call__(self, samples, seed, person):
        loud = torch.from_numpy(samples[: len(samples) // 640 * 640].reshape(-1, 640)).abs().mean(1, keepdim=True)
        return MotionLatent(loud * torch.ones(63), 0.1 * loud * torch.ones(7))


def unseen(title, total):
    return lambda: None


@pytest.fixture(scope="module")
def mesh(cache):
    return FaceMesh(load_body("open"))


@pytest.fixture(scope="module")
def source(mesh, tmp_path_factory):
    return tiny_source(mesh, tmp_path_factory.mktemp("weights"), Humming())


@pytest.fixture(scope="module")
def portrait(mesh):
    return tiny_portrait(mesh, 81, 80)


@pytest.fixture(scope="module")
def driven(source, portrait):
    torch.manual_seed(0)
    pose = torch.zeros(COUNT, 7)
    pose[4, 2] = 1.0  # looks away
    sound = np.sin(np.arange(COUNT * 640) / 9).astype(np.float32)
    motion = source.adapted(portrait, MotionLatent(0.05 * torch.randn(COUNT, 63), pose))
    return Driving(motion, 25.0, sound, {"motion": "x"})


@pytest.fixture(scope="module")
def moved(source, portrait, driven, tmp_path_factory):
    folder = tmp_path_factory.mktemp("moved")
    move(source, portrait, driven, folder, unseen, VideoWriter)
    return folder


def test_a_moved_portrait_is_a_film_with_its_latents(source, portrait, driven, moved):
    told, table = json.loads((moved / FACTS).read_text()), _table(moved / "motion.npz")
    assert told["latent"] == "LivePortrait" and told["source"] == f"LivePortrait {source.version}" and told["heard"]
    assert list(told["invalid"]) == ["4"] and told["invalid"]["4"].startswith("yaw")
    assert table.values.shape == (COUNT, 70) and table.names[63:] == ["scale", "pitch", "yaw", "roll", "x", "y", "z"]
    assert np.allclose(table.values, torch.cat([*driven.motion], 1), atol=1e-6)
    film = probe(moved / FILM, 25.0)
    shown = list(pictures(film, 25.0, 0.0, None))
    assert len(shown) == COUNT and shown[0].shape == (80, 82, 3) and film.has_sound  # sides are even


def test_a_stopped_film_goes_on_to_the_same_frames(source, portrait, driven, moved, tmp_path):
    for part in (FRAMES, CONFIDENCE):
        (tmp_path / part).mkdir()
        for index in range(3):
            name = f"{part}/{index:06d}.png"
            (tmp_path / name).write_bytes((moved / name).read_bytes())
    move(source, portrait, driven, tmp_path, unseen, VideoWriter)
    for name in (f"{part}/{index:06d}.png" for part in (FRAMES, CONFIDENCE) for index in range(COUNT)):
        assert (tmp_path / name).read_bytes() == (moved / name).read_bytes()
    assert (tmp_path / FACTS).read_text() == (moved / FACTS).read_text()


def test_a_sound_or_the_packages_own_speech_drives(source, portrait, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.linspace(0, 0.5, RATE).astype(np.float32), RATE)
    told = driving(source, portrait, tmp_path / "a.wav", 600, unseen)
    assert len(told.motion.dyn) == 25 and len(told.sound) == RATE
    assert told.told == {"motion": "a.wav", "driver": "JoyVASA"} and (told.motion.dyn.diff(dim=0) > 0).all()
    said = driving(source, portrait, None, 30, unseen)
    assert said.told["motion"] == "the package's speech" and len(said.motion.dyn) == 30


def test_a_template_drives_without_a_sound(source, portrait, tmp_path):
    frame = {"scale": np.ones((1, 1)), "R": np.eye(3)[None], "exp": np.zeros((1, 21, 3)), "t": np.zeros((1, 3))}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"motion": [frame] * 40, "output_fps": 25}))
    told = driving(source, portrait, tmp_path / "x.pkl", 30, unseen)
    assert len(told.motion.dyn) == 30 and not len(told.sound)
    with pytest.raises(UserError, match="found 24 frames at 25 a second; expected at least a second"):
        driving(source, portrait, tmp_path / "x.pkl", 24, unseen)


def test_absent_files_are_one_line(tmp_path):
    def start(**options):
        config = PreprocessConfig(portrait="a.png", source="liveportrait", weights=str(tmp_path), **options)
        preprocess_live_portrait(config, unseen, VideoWriter, VideoWriter)

    with pytest.raises(UserError, match=r"^source: found liveportrait, no appearance.*generator.*source=mesh_code"):
        start()
    write_published(tmp_path)
    with pytest.raises(UserError, match=r"^motion: found none; expected a capture"):
        start()
    with pytest.raises(UserError, match=r"nowhere: nothing there"):
        start(motion=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"^motion: found .*: no capture"):
        start(motion=str(tmp_path))
    (tmp_path / "a.wav").touch()
    with pytest.raises(UserError, match=r"a.wav, and no driver .no iter_0020000.pt and motion_template.pkl"):
        start(motion=str(tmp_path / "a.wav"))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["video=a.mp4", "source=liveportrait"], "source: found source=liveportrait of a video"),
        (["portrait=a.png", "motion=b"], "motion: found motion=b, with source=mesh_code"),
        (["portrait=a.png", "source=liveprotrait"], "source: found 'liveprotrait'.*did you mean liveportrait"),
    ],
)
def test_options_that_do_not_go_together(given, line):
    with pytest.raises(UserError, match=line):
        read_arguments(given)
