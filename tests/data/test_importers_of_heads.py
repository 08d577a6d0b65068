"""Published layouts of heads, written small by the tests, read as captures."""

import json

import numpy as np
import pytest
import soundfile
from PIL import Image

from talkingavatar.audio.features import RATE
from talkingavatar.data.importers import FORMATS, Options
from talkingavatar.data.importers.cameras import pinhole
from talkingavatar.data.importers.clocks import Clocks, lag
from talkingavatar.errors import UserError
from talkingavatar.geometry.rotations import axis_angle_to_matrix
from tests.data.published import SIZE, half_mask, imported, picture

# -- GaussianAvatars, VHAP ---------------------------------------------------------------------------------------------


def flame_parameters(t: int) -> dict:
    one = np.ones((1, 3))
    return {
        "translation": np.array([[0.0, 0.1, 0.01 * t]]), "rotation": 0.1 * one, "neck_pose": 0.2 * one,
        "jaw_pose": 0.01 * t * one, "eyes_pose": np.arange(6.0)[None], "shape": np.full(300, 0.5),
        "expr": np.full((1, 100), float(t)), "static_offset": np.zeros((1, 5143, 3)),
    }  # fmt: skip


@pytest.fixture
def export(tmp_path):
    """Ten moments, two cameras a metre in front of the head, in the parts of GaussianAvatars."""
    root, parts = tmp_path / "export", {"train": [], "val": [], "test": []}
    c2w = np.eye(4)
    c2w[:3, 3] = [0.2, 0.1, 1.0]  # OpenGL: looks along -z
    (root / "flame_param").mkdir(parents=True)
    for t in range(10):
        np.savez(root / "flame_param" / f"{t:05d}.npz", **flame_parameters(t))
        for camera in (3, 8):
            name = f"{t:05d}_{camera:02d}.png"
            picture(root / "images" / name, (200, 30, t))
            half_mask(root / "fg_masks" / name, high=128 if t == 0 else 255)
            row = {
                "timestep_index": t, "camera_index": camera, "file_path": f"images/{name}", "w": SIZE, "h": SIZE,
                "fl_x": 20.0, "fl_y": 21.0, "cx": 8.0, "cy": 7.5, "transform_matrix": c2w.tolist(),
                "flame_param_path": f"flame_param/{t:05d}.npz", "fg_mask_path": f"fg_masks/{name}",
            }  # fmt: skip
            parts["test" if t >= 7 else "val" if camera == 8 else "train"].append(row)
    for part, frames in parts.items():
        (root / f"transforms_{part}.json").write_text(json.dumps({"frames": frames}))
    np.savez(root / "canonical_flame_param.npz", **(flame_parameters(0) | {"shape": np.full(300, 0.25)}))
    return root


def test_vhap_export(export, tmp_path):
    rate = 8000
    soundfile.write(tmp_path / "talk.wav", np.sin(np.arange(rate) / 5), rate)
    capture = imported("vhap", tmp_path, path=export, camera="3", fps=20.0, audio=tmp_path / "talk.wav", width=8)
    manifest = capture.manifest
    assert (manifest.frames, manifest.fps, manifest.width, manifest.height) == (10, 20.0, 8, 8)
    assert (manifest.train, manifest.test) == ([(0, 7, 1)], [(7, 10, 1)])
    camera = capture.cameras([0])
    head = np.array([0.2, 0.1, 0.5, 1.0])  # half a metre before the camera
    seen = camera.viewmats[0].numpy() @ head
    assert seen[:3] == pytest.approx([0, 0, 0.5], abs=1e-6)
    assert (camera.viewmats[0].numpy() @ (head + np.array([0, 0.1, 0, 0])))[
        1
    ] < 0  # up in the world is up in the picture
    assert camera.Ks[0].numpy() == pytest.approx(pinhole(10, 10.5, 4, 3.75))
    pose = capture.pose([4], "flame")
    assert pose.full_pose.shape == (1, 5, 3) and pose.expression[0, 0] == 4
    assert pose.full_pose[0, :, 0].numpy() == pytest.approx([0.1, 0.2, 0.04, 0.0, 3.0])
    assert pose.full_pose[0, 4].numpy() == pytest.approx([3, 4, 5])
    assert pose.betas[0, 0] == 0.25 and pose.betas.shape == (1, 300)
    assert pose.transl[0].numpy() == pytest.approx([0, 0.1, 0.04])
    assert capture.matte(0)[0, 0] == 128  # VHAP's masks are soft
    assert capture.frame(5)[0, 0].tolist() == pytest.approx((200, 30, 5), abs=1)
    assert len(capture.audio) == RATE // 2 and np.abs(capture.audio).max() > 0.9
    assert "flame" not in manifest.body and manifest.body["smplx"].startswith("none")


def test_vhap_as_one_file_without_sound_or_masks(export, tmp_path):
    rows = [
        row
        for part in ("train", "test")
        for row in json.loads((export / f"transforms_{part}.json").read_text())["frames"]
    ]
    for part in ("train", "val", "test"):
        (export / f"transforms_{part}.json").unlink()
    for row in rows:
        row.pop("fg_mask_path")
        row["transform_matrix"] = (np.array(row["transform_matrix"]) @ np.diag([1, -1, -1, 1])).tolist()
    for mask in (export / "fg_masks").iterdir():
        mask.unlink()
    (export / "transforms.json").write_text(json.dumps({"frames": rows}))
    capture = imported("vhap", tmp_path, path=export)
    assert capture.manifest.provenance["axes"] == "OpenCV axes"  # turned round: the head stays in front
    assert capture.cameras([0]).viewmats[0, :3, 3].numpy() == pytest.approx([-0.2, 0.1, 1.0])
    assert (capture.matte(3) == 255).all() and not capture.audio.any()
    assert capture.manifest.provenance["sound"] == "none given: silence"
    with pytest.raises(UserError, match="one of 3, 8"):
        FORMATS["vhap"](Options(path=export, camera="5"))


# -- EmoTalk3D ---------------------------------------------------------------------------------------------------------

LAYOUT = """
subject: "0048"
camera: "cam_05"
fps: 25
first: 1
images: "{subject}/{sequence}/{camera}/{frame:06d}.png"
masks: "{subject}/{sequence}/masks/{camera}/{frame:06d}.png"
cameras: "{subject}/cameras.json"
axes: opengl
audio: "{subject}/audio/{sequence}.wav"
meshes: "{subject}/{sequence}/{frame:06d}.obj"
flame: "{subject}/{sequence}/flame/{frame:06d}.npz"
emotions: {"2": "happy"}
"""
SENTENCES = {
    "1-00-01": 4,
    "2-01-01": 5,
    "2-01-02": 3,
}  # frames of each; the last sentence is said with one emotion only
CAMERAS = {"cam_03": (0.5, 16), "cam_05": (1.5, 32)}  # how far off, and how large the pictures are


@pytest.fixture
def talk(tmp_path):
    """Three sentences of one subject by two cameras."""
    root = tmp_path / "EmoTalk3D"
    (root / "0048" / "audio").mkdir(parents=True)
    for number, (sequence, frames) in enumerate(SENTENCES.items()):
        clip = root / "0048" / sequence
        (clip / "flame").mkdir(parents=True)
        for t in range(1, frames + 1):
            for camera, (_, size) in CAMERAS.items():
                picture(clip / camera / f"{t:06d}.png", (200, 60 * number, t), size=(size, size))
                half_mask(clip / "masks" / camera / f"{t:06d}.png", size=(size, size))
            np.savez(clip / "flame" / f"{t:06d}.npz", **flame_parameters(10 * number + t))
        # Longer than the pictures; what is too much is cut, and the next sentence begins with its own pictures.
        sound = np.full(round(1.5 * frames / 25 * RATE), 0.25 * (number + 1))
        soundfile.write(root / "0048" / "audio" / f"{sequence}.wav", sound, RATE)
    cameras = {}
    for camera, (distance, size) in CAMERAS.items():
        c2w = np.diag([1.0, 1, 1, 1])
        c2w[2, 3] = distance
        K = pinhole(size, size, size / 2, size / 2)
        cameras[camera] = {"K": K.tolist(), "c2w": c2w.tolist()}
    (root / "0048" / "cameras.json").write_text(json.dumps(cameras))
    (tmp_path / "layout.yaml").write_text(LAYOUT)
    return root


def test_emotalk3d_sentences_are_shots_and_cameras_views(talk, tmp_path):
    capture = imported("emotalk3d", tmp_path, path=talk, layout=tmp_path / "layout.yaml")
    manifest = capture.manifest
    assert (manifest.name, manifest.frames, manifest.fps) == ("0048", 12, 25.0)
    assert manifest.shots == [(0, 4), (4, 9), (9, 12)]
    assert (manifest.views, manifest.test_views) == (["cam_05", "cam_03"], ["cam_03"])
    assert (manifest.train, manifest.test) == ([(0, 4, 1), (4, 9, 1)], [(9, 12, 1)])  # the whole second sentence
    assert manifest.provenance["sequences"]["2-01-02"] == {"emotion": "2", "intensity": "01", "sentence": "02"}
    emotion = capture.table("emotion")
    assert emotion.names == ["1", "happy"]
    assert emotion.values[:4].tolist() == [[1, 0]] * 4 and emotion.values[4:].tolist() == [[0, 1]] * 8
    assert capture.pose([4, 11], "flame").expression[:, 0].tolist() == [11, 23]
    heard = capture.audio.reshape(12, 640)
    assert heard[:, 320] == pytest.approx([0.25] * 4 + [0.5] * 5 + [0.75] * 3, abs=1e-3)


def test_emotalk3d_pictures_of_all_cameras_have_one_size(talk, tmp_path):
    capture = imported("emotalk3d", tmp_path, path=talk, layout=tmp_path / "layout.yaml", width=16)
    assert (capture.manifest.width, capture.manifest.height) == (16, 16)
    for view, (distance, _) in CAMERAS.items():
        assert capture.frame(5, view)[0, 0].tolist() == pytest.approx((200, 60, 2), abs=1)
        assert capture.matte(5, view)[0, 4] == 255 and not capture.matte(5, view)[0, 12]
        camera = capture.cameras([5], view)
        assert (camera.viewmats[0].numpy() @ [0, 0, 0, 1])[:3] == pytest.approx([0, 0, distance])
        assert camera.Ks[0].numpy() == pytest.approx(
            pinhole(16, 16, 8, 8)
        )  # both saw the same, in more or fewer pixels


def test_emotalk3d_some_of_it(talk, tmp_path):
    chosen = {"layout": tmp_path / "layout.yaml", "sequence": "2-01-01", "camera": "cam_03", "test_views": ()}
    capture = imported("emotalk3d", tmp_path, path=talk, **chosen)
    manifest = capture.manifest
    assert (manifest.name, manifest.frames, manifest.views) == ("0048-2-01-01", 5, ["cam_03", "cam_05"])
    assert (manifest.test_views, manifest.train, manifest.test) == ([], [(0, 4, 1)], [(4, 5, 1)])
    assert capture.table("emotion").names == ["happy"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("images: '{wrong}.png'", "layout"),
        ("imges: a", "layout"),
        ("camera: cam_09", "cam_09"),
        ("first: 4", "1 pictures"),
        ("intensities: {'01': 2}", "intensities: found 2; expected a number from 0 to 1"),
        ("images: '{subject}/of_{sequence}/{frame}.png'", "layout.sequences"),
        ("sequences: [3-00-01]", "3-00-01"),
    ],
)
def test_emotalk3d_a_mistake_in_the_layout_is_named(talk, tmp_path, change, expected):
    key = change.split(":")[0]
    kept = "\n".join(line for line in LAYOUT.splitlines() if not line.startswith(key + ":"))
    (tmp_path / "bad.yaml").write_text(f"{kept}\n{change}\n")
    with pytest.raises(UserError, match=expected):
        FORMATS["emotalk3d"](Options(path=talk, layout=tmp_path / "bad.yaml"))


def test_emotalk3d_intensities_are_what_the_layout_says(talk, tmp_path):
    """What it does not tell is taken as 1, with a line that says so."""
    (tmp_path / "told.yaml").write_text(LAYOUT + "intensities: {'01': 0.7}\n")
    clip = FORMATS["emotalk3d"](Options(path=talk, layout=tmp_path / "told.yaml"))
    table = clip.tables["emotion"]
    assert table.names == ["1", "happy"]
    np.testing.assert_allclose(table.values[[0, 4, 11]], [[1, 0], [0, 0.7], [0, 0.7]], atol=1e-6)
    assert len(clip.warnings) == 2
    assert clip.warnings[0].startswith("emotions 1: no names") and clip.warnings[1].startswith("intensities 00: no")


def test_views_of_different_length_are_told_before_anything_is_written(talk, tmp_path):
    (talk / "0048" / "2-01-01" / "cam_03" / "000005.png").unlink()
    with pytest.raises(UserError, match="found 4 pictures of 2-01-01 by cam_03; expected 5, as by cam_05"):
        FORMATS["emotalk3d"](Options(path=talk, layout=tmp_path / "layout.yaml"))


@pytest.mark.parametrize(("late", "told"), [(3, "3 frames behind front"), (-2, "2 frames ahead of front"), (0, None)])
def test_a_camera_on_another_clock_is_told(late, told):
    """By what moves: a dark square that is pushed about, seen from aside; first frames of shots tell nothing."""
    clocks, steps = Clocks([(0, 30), (30, 80)]), np.random.default_rng(0).uniform(0, 3, 100)
    places = 10 + np.cumsum(steps * np.where(np.arange(100) % 20 < 10, 1, -1))
    for view, shift, left in (("front", 0, 0), ("side", late, 6)):
        for i in range(80):
            frame, place = np.full((64, 64, 3), 255, np.uint8), round(places[i + 10 - shift]) + left
            frame[20:40, place : place + 12] = 40
            clocks.see(view, i, frame)
    if told is None:
        clocks.check("data")
    else:
        with pytest.raises(UserError, match=f"data: camera side: found {told}; expected cameras on one clock"):
            clocks.check("data")


def test_still_or_short_views_say_nothing_of_their_clocks():
    assert lag(np.zeros(80), np.zeros(80)) == 0
    moved = np.random.default_rng(1).uniform(size=90)
    assert lag(moved[:80], moved[4:84]) == -4 and lag(moved[:30], moved[4:34]) == 0


def test_a_held_out_view_must_be_there(talk, tmp_path):
    with pytest.raises(UserError, match="test_views: found cam_05; expected some of cam_03"):
        FORMATS["emotalk3d"](Options(path=talk, layout=tmp_path / "layout.yaml", test_views=("cam_05",)))


# -- RenderMe-360 ------------------------------------------------------------------------------------------------------


def landmarks(w2c: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points before a camera, and where it sees them."""
    local = np.random.default_rng(0).uniform(-0.1, 0.1, (106, 3)) + np.array([0, 0, 2])
    world = (local - w2c[:3, 3]) @ w2c[:3, :3]
    pixels = local @ K.T
    return world, pixels[:, :2] / pixels[:, 2:]


def w2c_of_a_side_camera() -> np.ndarray:
    import torch

    matrix = np.eye(4)
    matrix[:3, :3] = axis_angle_to_matrix(torch.tensor([0.1, 0.6, 0.0])).numpy()
    matrix[:3, 3] = [0.3, 0.1, 1.8]
    return matrix


def encoded(colour, size=(SIZE, SIZE)) -> np.ndarray:
    import io

    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return np.frombuffer(buffer.getvalue(), np.uint8)


def write_performance(
    folder, part: str, meaning: str, cameras: tuple[str, ...], frames: int, flame: bool
) -> np.ndarray:
    """The two containers of a part; camera 25's world to camera."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    K, w2c = pinhole(20, 20, 8, 8), w2c_of_a_side_camera()
    world, pixels = landmarks(w2c, K)
    for kind in ("raw", "anno"):
        (folder / kind / "0026").mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "raw" / "0026" / f"0026_{part}_raw.smc", "w") as raw:
        raw.attrs.update({"actor_id": "0026", "performance_part": part, "age": np.int64(30)})
        for camera in cameras:
            for t in range(frames):
                raw[f"Camera/{camera}/color/{t}"] = encoded((200, int(camera), t))
        raw["Camera/00/audio/audio"] = np.full(48000, 8192, np.int16)
        raw["Camera/00/audio/sample_rate"] = np.int64(48000)
    with h5py.File(folder / "anno" / "0026" / f"0026_{part}_anno.smc", "w") as anno:
        for camera in cameras:
            moved = w2c.copy()
            moved[0, 3] += int(camera) - 25
            entries = {"K": K, "D": np.zeros(5), "RT": moved if meaning.startswith("world") else np.linalg.inv(moved)}
            for key, value in entries.items():
                anno[f"Calibration/{camera}/{key}"] = value
        for t in range(frames):
            anno[f"Camera/25/mask/{t}"] = encoded((255, 255, 255) if t else (0, 0, 0))
            anno[f"Keypoints3d/{t}"] = world
            anno[f"Keypoints2d/25/{t}"] = pixels
            values = {"shape": np.ones(100), "exp": np.full(50, float(t)), "verts": np.zeros((5023, 3))}
            joints = ("global_pose", "neck_pose", "jaw_pose", "left_eye_pose", "right_eye_pose", "trans")
            values |= {key: np.full(3, float(i)) for i, key in enumerate(joints)}
            for key, value in values.items() if flame else ():
                anno[f"FLAME/{t}/{key}"] = value
    return w2c


@pytest.mark.parametrize("meaning", ["camera to world", "world to camera"])
def test_renderme360_containers(tmp_path, meaning):
    w2c = write_performance(tmp_path, "e1", meaning, ("25",), 5, flame=True)
    capture = imported("renderme360", tmp_path, path=tmp_path / "raw" / "0026" / "0026_e1_raw.smc")
    manifest = capture.manifest
    assert (manifest.name, manifest.frames, manifest.fps) == ("0026_e1", 5, 30.0)
    assert manifest.provenance["RT"] == meaning and manifest.provenance["reprojection_px"] < 1e-3
    assert capture.cameras([0]).viewmats[0].numpy() == pytest.approx(w2c, abs=1e-6)
    assert capture.frame(3)[0, 0].tolist() == pytest.approx((200, 25, 3)) and (capture.frame(0) == 255).all()
    assert capture.audio[2000] == pytest.approx(0.25, abs=0.01)
    pose = capture.pose([4], "flame")
    assert pose.full_pose[0, :, 0].tolist() == [0, 1, 2, 3, 4] and pose.transl[0, 0] == 5
    assert pose.betas.shape == (1, 100) and pose.expression.shape == (1, 50) and pose.expression[0, 0] == 4
    assert manifest.provenance["facts"]["age"] == 30
    assert capture.table("emotion").names == ["e1"] and (capture.table("emotion").values == 1).all()
    assert manifest.provenance["warnings"][0].startswith("expressions e1: not named by the dataset")
    with pytest.raises(UserError, match="one of 25"):
        FORMATS["renderme360"](Options(path=tmp_path / "raw" / "0026", camera="7"))


def test_renderme360_all_speech_of_a_person_by_all_cameras(tmp_path):
    """A camera that missed a part is left out; expressions are another matter than speech."""
    meaning = "camera to world"
    for part, cameras, frames in (("s1", ("25", "18", "31"), 3), ("s2", ("18", "25"), 4), ("e1", ("25",), 2)):
        w2c = write_performance(tmp_path, part, meaning, cameras, frames, flame=part == "e1")
    capture = imported("renderme360", tmp_path, path=tmp_path / "raw" / "0026")
    manifest = capture.manifest
    assert (manifest.name, manifest.shots, manifest.views) == ("0026", [(0, 3), (3, 7)], ["25", "18"])
    assert (manifest.train, manifest.test, manifest.test_views) == ([(0, 3, 1)], [(3, 7, 1)], ["18"])
    assert manifest.provenance["performances"] == ["0026_s1", "0026_s2"] and capture.table("emotion") is None
    assert manifest.provenance["warnings"] == ["0026_s1: cameras 31 left out: not as many frames of all performances"]
    assert capture.frame(4, "25")[0, 0].tolist() == [200, 25, 1] and capture.frame(4, "18")[0, 0].tolist() == [
        200,
        18,
        1,
    ]
    assert capture.cameras([4], "18").viewmats[0, 0, 3] == pytest.approx(w2c[0, 3] - 7)
    chosen = FORMATS["renderme360"](Options(path=tmp_path / "raw" / "0026", sequence="e1,s2"))
    assert chosen.provenance["performances"] == ["0026_e1", "0026_s2"] and chosen.parameters == {}
    assert chosen.tables["emotion"].values[:, 0].tolist() == [1.0] * 2 + [0.0] * 4


def test_renderme360_unfolded(tmp_path):
    root, K, w2c = tmp_path / "s1_all", pinhole(20, 20, 8, 8), w2c_of_a_side_camera()
    rows = []
    world, pixels = landmarks(w2c, K)
    for t in range(4):
        picture(root / "images" / f"{t:05d}_25.png", (200, 30, t))
        half_mask(root / "masks" / f"{t:05d}_25.png")
        rows += [
            {"timestep_index": t, "camera_index": c, "fx": 20.0, "fy": 20.0, "cx": 8.0, "cy": 8.0,
             "transform_matrix": np.linalg.inv(w2c).tolist()} for c in (0, 25)
        ]  # fmt: skip
    for folder, values in (("lmks_3d", world), ("lmks_2d", pixels)):
        (root / folder).mkdir()
        np.save(root / folder / "00000_25.npy", values)
    (root / "calib.json").write_text(json.dumps({"actor_id": "0026", "n_frames": 4, "frames": rows}))
    (root / "audios").mkdir()
    soundfile.write(root / "audios" / "s1.wav", np.full(4000, 0.5), 8000)
    capture = imported("renderme360", tmp_path, path=root)
    assert capture.manifest.frames == 4 and capture.manifest.views == ["25"]  # of camera 0 there are no pictures
    assert capture.cameras([0]).viewmats[0].numpy() == pytest.approx(w2c, abs=1e-6)
    assert capture.frame(2)[0, 0].tolist() == pytest.approx((200, 30, 2)) and not capture.matte(2)[0, 12]
    assert capture.audio[500] == pytest.approx(0.5, abs=0.01)
    assert capture.manifest.body["smplx"].startswith("none")
