"""Published layouts, written small by the tests, read as captures: whole bodies, and the command."""

import numpy as np
import pytest
import soundfile

from talkingavatar.audio.features import RATE
from talkingavatar.data.capture import Capture
from talkingavatar.data.importers import FORMATS, Options
from talkingavatar.data.importers.cameras import choose_reading, pinhole
from talkingavatar.data.importers.poses import axis_angles, smplx_full_pose
from talkingavatar.errors import UserError
from talkingavatar.geometry.rotations import axis_angle_to_matrix
from tests.data.published import RED, half_mask, imported, picture

# -- TalkingAvatar (THGS) ----------------------------------------------------------------------------------------------

FRAMES, CLIPS, FPS = 6, 2, 30
TRANSL = np.array([0.1, -0.2, 2.5])


def poses(frames: int, form: str, rng: np.random.Generator) -> tuple[dict, np.ndarray]:
    """Published arrays in one of the layouts, and the joints they mean."""
    joints = 0.3 * rng.normal(size=(frames, 55, 3))
    cut = {
        "global_orient": (0, 1), "body_pose": (1, 22), "jaw_pose": (22, 23), "leye_pose": (23, 24),
        "reye_pose": (24, 25), "left_hand_pose": (25, 40), "right_hand_pose": (40, 55),
    }  # fmt: skip
    arrays = {key: joints[:, a:b] for key, (a, b) in cut.items()}
    if form == "flat":
        arrays = {key: value.reshape(frames, -1) for key, value in arrays.items()}
    if form == "matrices":
        arrays = {key: as_matrices(value) for key, value in arrays.items()}
    arrays["global_orient"] = arrays["global_orient"][:, None]  # the release has one axis more
    return arrays, joints


def as_matrices(rotvec: np.ndarray) -> np.ndarray:
    import torch

    return axis_angle_to_matrix(torch.from_numpy(rotvec)).numpy()


@pytest.fixture
def subject(tmp_path):
    """Two clips; the first with the README's mask folder, the second with the loader's and one mask missing."""
    root, rng = tmp_path / "Subject", np.random.default_rng(0)
    for clip in range(CLIPS):
        # Sorted as text, output1000 would come before output999.
        folder = root / f"Subject_output{(999, 1000)[clip]:03d}"
        masks = folder / ("parsing", "parsing_full_body")[clip]
        for i in range(FRAMES):
            picture(folder / "image" / f"{i:06d}.jpg", (200 - 100 * clip, 30, 10), size=(32, 16))
            if (clip, i) != (1, 2):
                half_mask(masks / f"{i:06d}.jpg", low=20, size=(32, 16))
            labels = np.zeros((1, 16, 32), np.uint8)
            labels[0, 8:10, 10:14] = 12
            (folder / "face_mask").mkdir(exist_ok=True)
            np.savez(folder / "face_mask" / f"{i:06d}.npz", labels)
        time = np.arange(round(FRAMES / FPS * 22050)) / 22050
        tone = 0.5 * np.sin(2 * np.pi * (300, 600)[clip] * time)
        soundfile.write(folder / "aud.wav", np.stack([tone, tone], 1), 22050)
        np.save(folder / "aud_eo.npy", np.full((5, 16, 44), float(clip), np.float32))
        np.save(folder / "keypoints.npy", keypoints())
    (root / "notes").mkdir()  # no clip
    arrays, joints = poses(FRAMES * CLIPS, "joints", rng)
    body = {"betas": np.arange(300.0)[None], "transl": np.zeros((FRAMES * CLIPS, 3)), "expression": np.ones((12, 100))}
    np.savez(root / "poses_optimized.npz", **arrays, **body)
    # As SHOW means it, the subject is at +avg_transl; the published loader puts the camera there.
    np.savez(root / "optimized_camera_params.npz", focal_length=np.array(40.0), avg_transl=TRANSL)
    return root, joints


def keypoints() -> np.ndarray:
    """Where a hip at the subject's place is seen by a camera of 40 px focal length."""
    points = np.zeros((FRAMES, 135, 3))
    place = TRANSL + np.array([0, -0.35, 0])
    points[:, :, :2] = 40 * place[:2] / place[2] + np.array([16, 8])
    points[:, 67:, :2] += np.random.default_rng(0).uniform(-3, 3, (68, 2))
    points[..., 2] = 0.9
    points[:, 25:46, 2] = 0  # no left hand
    return points


def test_thgs_release(subject, tmp_path):
    root, joints = subject
    capture = imported("thgs", tmp_path, path=root, name="someone")
    manifest = capture.manifest
    assert (manifest.frames, manifest.fps, manifest.width, manifest.height) == (12, 30.0, 32, 16)
    assert manifest.shots == [(0, 6), (6, 12)] and manifest.unusable == [8]
    assert capture.frame(0)[0, 2].tolist() == pytest.approx(
        RED, abs=12
    )  # red stays red, and clip 999 comes before 1000
    assert capture.frame(6)[0, 2].tolist() == pytest.approx((100, 30, 10), abs=12)
    assert (capture.frame(0)[:, 18:] == 255).all() and not capture.matte(0)[:, 18:].any()  # 20 is JPEG's ringing
    assert (capture.matte(0)[:, :14] == 255).all()
    assert not capture.matte(8).any() and (capture.frame(8) == 255).all()
    assert 8 not in capture.train_frames + capture.test_frames
    pose = capture.pose(list(range(12)))
    assert pose.full_pose.numpy() == pytest.approx(joints, abs=1e-6)
    assert pose.betas.shape == (12, 300) and pose.betas[3, 7] == 7 and pose.expression.shape == (12, 100)
    assert manifest.body == {}
    camera = capture.cameras([0])
    assert camera.viewmats[0, :3, 3].numpy() == pytest.approx(TRANSL)
    assert camera.Ks[0].numpy() == pytest.approx(pinhole(40, 40, 16, 8))
    assert manifest.provenance["camera"] == "avg_transl is the subject's place"
    assert manifest.provenance["reprojection_px"] < 1 and manifest.provenance["warning"] is None
    assert len(capture.audio) == 12 / 30 * RATE
    spectrum = np.abs(np.fft.rfft(capture.audio[: len(capture.audio) // 2]))
    assert spectrum.argmax() / (6 / 30) == pytest.approx(300, abs=6)
    assert np.isnan(capture.regions["left_hand"]).all() and np.isfinite(capture.regions["head"]).all()
    assert capture.regions["mouth"][0] == pytest.approx([9.25, 7.25, 14.75, 10.75])
    assert capture.landmarks().shape == (12, 68, 3)
    windows = np.load(capture.folder / "aud_eo.npy")
    assert windows.shape == (10, 16, 44) and not windows[:5].any() and (windows[5:] == 1).all()
    assert capture.features("deepspeech", str(capture.folder / "aud_eo.npy")).shape == (12, 16, 44)


def test_thgs_camera_as_the_loader_means_it(subject, tmp_path):
    """The same picture, written with the other sign: the diagnostic turns it round by itself."""
    root, _ = subject
    np.savez(root / "optimized_camera_params.npz", focal_length=np.array([40.0]), avg_transl=-TRANSL)
    capture = imported("thgs", tmp_path, path=root)
    assert capture.cameras([0]).viewmats[0, :3, 3].numpy() == pytest.approx(TRANSL)
    assert capture.manifest.provenance["camera"] == "avg_transl is the camera's place"


def test_thgs_split_ends_are_inclusive_and_no_frame_is_in_both_parts(subject, tmp_path):
    root, _ = subject
    capture = imported("thgs", tmp_path, path=root, train=(0, 8, 4), test=(8, 11, 1))
    assert capture.train_frames == [0, 4]
    assert capture.manifest.test == [(8, 12, 1)] and capture.test_frames == [9, 10, 11]  # 8 has no mask
    with pytest.raises(UserError, match="frames of 0 to 11"):
        FORMATS["thgs"](Options(path=root, train=(0, 8, 4), test=(8, 12, 1)))


@pytest.mark.parametrize("form", ["flat", "joints", "matrices"])
def test_pose_layouts_are_told_by_size(form):
    arrays, joints = poses(4, form, np.random.default_rng(1))
    assert smplx_full_pose(arrays, None, "poses") == pytest.approx(joints, abs=1e-6)


def test_hands_of_components_need_the_model(tmp_path):
    rng = np.random.default_rng(2)
    arrays, joints = poses(4, "flat", rng)
    arrays["body_pose_axis"] = arrays.pop("body_pose")
    arrays |= {f"{side}_hand_pose": rng.normal(size=(4, 12)) for side in ("left", "right")}
    with pytest.raises(UserError, match="hands of 12 components"):
        smplx_full_pose(arrays, None, "poses")
    model = {f"hands_components{s}": rng.normal(size=(45, 45)) for s in "lr"}
    model |= {f"hands_mean{s}": rng.normal(size=45) for s in "lr"}
    np.savez(tmp_path / "SMPLX_NEUTRAL.npz", **model)
    found = smplx_full_pose(arrays, tmp_path / "SMPLX_NEUTRAL.npz", "poses")
    expected = arrays["right_hand_pose"] @ model["hands_componentsr"][:12] + model["hands_meanr"]
    assert found[:, 40:].reshape(4, 45) == pytest.approx(expected)
    assert found[:, :25] == pytest.approx(joints[:, :25])
    with pytest.raises(UserError, match="shape"):
        axis_angles(np.zeros((4, 13)), 15, "hand")


def test_a_camera_that_fits_in_no_sign_is_refused():
    behind = np.diag([1.0, 1.0, -1.0, 1.0])
    with pytest.raises(UserError, match="median depth"):
        choose_reading({"a": behind}, pinhole(1, 1, 0, 0), np.array([[[0.0, 0.0, 2.0]]]), None, "camera")


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command(subject, tmp_path, capsys, monkeypatch):
    from talkingavatar.import_capture import main

    root, _ = subject
    monkeypatch.setenv("TALKINGAVATAR_CAPTURES", str(tmp_path / "captures"))
    assert main(["from=thgs", f"path={root}", "name=someone", "train=0-7:2", "test=8-11"]) == 0
    shown = capsys.readouterr().out
    folder = tmp_path / "captures" / "someone"
    assert shown.splitlines()[-1] == f"capture: {folder}" and "1 of them unusable" in shown
    assert "views: front; held out: none" in shown
    assert Capture(folder).manifest.train == [(0, 8, 2)]
    for arguments, expected in {
        ("from=thgs", f"path={root}", "name=someone"): "which exists",
        ("from=thg", f"path={root}"): "did you mean thgs",
        ("from=thgs",): "path",
        ("from=thgs", f"path={tmp_path / 'nowhere'}"): "no such file or folder",
        ("from=thgs", f"path={tmp_path}", "name=x"): "no folder with image/",
        ("from=vhap", f"path={root}", "name=x"): "transforms.json",
        ("from=thgs", f"path={root}", "train=a-b"): "first-last:step",
        ("from=emotalk3d", f"path={root}"): "layout",
        ("from=renderme360", f"path={root}"): "no *_raw.smc",
    }.items():
        assert main(list(arguments)) == 2
        shown = capsys.readouterr().err
        assert expected in shown and shown.count("\n") == 1
    (root / "poses_optimized.npz").write_bytes(b"broken")
    assert main(["from=thgs", f"path={root}", "name=x"]) == 2 and "no readable file" in capsys.readouterr().err
    assert sorted(f.name for f in (tmp_path / "captures").iterdir()) == ["someone"]
