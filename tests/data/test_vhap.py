"""VHAP's exports as they are found: fields absent or malformed, written on other machines."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from PIL import Image

from talkingavatar.data.importers import FORMATS, Options
from talkingavatar.errors import UserError
from tests.data.published import SIZE, half_mask, imported
from tests.data.test_importers_of_heads import flame_parameters

FRAMES = 6
CAMERA = np.array([[1.0, 0, 0, 0.2], [0, 1, 0, 0.1], [0, 0, 1, 1.0], [0, 0, 0, 1]])


def entry(t: int) -> dict:
    return {
        "timestep_index": t, "camera_index": 0, "file_path": f"images/{t:05d}_00.png", "w": SIZE, "h": SIZE,
        "fl_x": 20.0, "fl_y": 20.0, "cx": 8.0, "cy": 8.0, "transform_matrix": CAMERA.tolist(), "fps": 30,
        "flame_param_path": f"flame_param/{t:05d}.npz", "fg_mask_path": f"fg_masks/{t:05d}_00.png",
    }  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """All files but transforms.json, which each test writes."""
    root = tmp_path_factory.mktemp("vhap") / "export"
    for folder in ("images", "flame_param", "fg_masks"):
        (root / folder).mkdir(parents=True)
    for t in range(FRAMES):
        Image.new("RGB", (SIZE, SIZE), (200, 30, 20 * t)).save(root / "images" / f"{t:05d}_00.png")
        half_mask(root / "fg_masks" / f"{t:05d}_00.png")
        small = flame_parameters(t) | {"static_offset": np.zeros((1, 4, 3))}
        np.savez(root / "flame_param" / f"{t:05d}.npz", **small)
    return root


@pytest.fixture
def export(shared, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(shared, tmp_path / "export")


def write(root, frames, **shared):
    (root / "transforms.json").write_text(json.dumps({"frames": frames, **shared}))


def changed(**values):
    return [entry(t) | {k: v(t) if callable(v) else v for k, v in values.items()} for t in range(FRAMES)]


def without(*keys):
    return [{k: v for k, v in entry(t).items() if k not in keys} for t in range(FRAMES)]


def paths(change):
    return [{k: change(v) if k.endswith("path") else v for k, v in entry(t).items()} for t in range(FRAMES)]


READ = {
    "plain": changed(),
    "backslashes": paths(lambda p: p.replace("/", "\\")),
    "of another machine": paths(lambda p: f"D:\\work\\export\\{p}".replace("/", "\\")),
    "no suffix": changed(file_path=lambda t: f"images/{t:05d}_00"),
    "three rows": changed(transform_matrix=CAMERA[:3].tolist()),
    "one list": changed(transform_matrix=CAMERA.ravel().tolist()),
    "listed backwards": changed()[::-1],
    "no timesteps": without("timestep_index"),
    "timestep_id": [f | {"timestep_id": f"frame_{t:05d}"} for t, f in enumerate(without("timestep_index"))][::-1],
    "no size": without("w", "h", "cx", "cy"),
    "an angle": [f | {"camera_angle_x": 2 * np.arctan(0.4)} for f in without("fl_x", "fl_y")],
    "of twice the size": changed(w=2 * SIZE, h=2 * SIZE, fl_x=40.0, fl_y=40.0, cx=16.0, cy=16.0),
    "some twice": changed() + changed()[:2],
    "pictures stored anew": paths(lambda p: p.replace(".png", ".jpg")),
    "timesteps in text": changed(timestep_index=lambda t: f"{t:05d}"),
    "a lens": changed(k1=0.1, p2=0),
}


@pytest.mark.parametrize("form", READ)
def test_what_can_be_told_is_read(shared, form):
    write(shared, READ[form])
    clip = FORMATS["vhap"](Options(path=shared))
    seen = [clip.picture(t, "front") for t in range(clip.frames)]
    assert [int(picture[0, 0, 2]) for picture, _ in seen] == [20 * t for t in range(FRAMES)]
    assert (seen[2][1][0, :8] == 255).all() and not seen[2][1][0, 8:].any()
    np.testing.assert_allclose(clip.Ks[0, 0], [[20, 0, 8], [0, 20, 8], [0, 0, 1]], atol=1e-9)
    np.testing.assert_allclose(np.linalg.inv(clip.viewmats[0, 0])[:3, 3], CAMERA[:3, 3])
    assert clip.parameters["flame"]["expression"][4, 0] == 4 and clip.fps == 30 and clip.unusable == []
    assert len(clip.warnings) == (form in ("of another machine", "no timesteps", "a lens"))


FIELDS = ("file_path", "transform_matrix", "w", "fl_x", "cx", "timestep_index", "camera_index", "fg_mask_path")
ENTRIES = {f"{field} {value!r}"[:40]: [entry(0), entry(1) | {field: value}, entry(2)]
           for field in FIELDS for value in ({}, float("inf"), [[1]])}  # fmt: skip


@pytest.mark.parametrize("frames", ENTRIES.values(), ids=list(ENTRIES))
def test_a_malformed_field_is_named(shared, frames):
    write(shared, frames)
    with pytest.raises(UserError, match=r"transforms\.json"):
        FORMATS["vhap"](Options(path=shared))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("null", "named values"),
        ("[]", "named values"),
        ("{}", "no frames"),
        ('{"frames": 3}', "a list"),
        ('{"frames": [null]}', "named values"),
        ('{"frames": []}', "no frames"),
        ("[" * 9000, "without end"),
        ("", "an empty file"),
        ('{"frames": [{"w": 1, "w": 2}]}', "'w' twice"),
    ],
)
def test_a_malformed_file_is_named(shared, content, message):
    (shared / "transforms.json").write_text(content)
    with pytest.raises(UserError, match=rf"transforms\.json.*{message}") as caught:
        FORMATS["vhap"](Options(path=shared))
    assert "\n" not in str(caught.value)


def test_a_frame_without_flame_is_unusable_and_the_others_keep_theirs(export, tmp_path):
    frames = changed()
    del frames[2]["flame_param_path"]
    np.savez(export / "flame_param" / "00001.npz", **flame_parameters(1) | {"expr": np.full((1, 100), np.nan)})
    write(export, frames)
    capture = imported("vhap", tmp_path, path=export)
    assert capture.manifest.unusable == [1, 2]
    assert capture.pose(list(range(FRAMES)), "flame").expression[:, 0].tolist() == [0, 0, 0, 3, 4, 5]
    assert "2 of 6 frames have no FLAME" in capture.manifest.provenance["warnings"][0]


def test_masks_that_are_named_must_be_there(export, tmp_path):
    write(export, changed())
    (export / "fg_masks" / "00003_00.png").unlink()
    with pytest.raises(UserError, match=r"frames\[3\]:fg_mask_path.*no such file"):
        FORMATS["vhap"](Options(path=export))
    write(export, without("fg_mask_path"))
    with pytest.raises(UserError, match=r"frames\[3\].*no mask, which other frames have"):
        FORMATS["vhap"](Options(path=export))


def labels(mask: Image.Image) -> Image.Image:
    found = Image.fromarray((np.array(mask) > 127).astype(np.uint8)).convert("P")
    found.putpalette([0, 0, 0, 0, 128, 0] + [0] * 762)
    return found


def behind(colour: str, mask: Image.Image) -> Image.Image:
    full = Image.new("L", mask.size, 255)
    return Image.merge(colour, [full] * (len(colour) - 1) + [mask])


MASKS = {
    "0 and 1": lambda mask: Image.fromarray(np.array(mask) // 255),
    "sixteen bits": lambda mask: Image.fromarray(np.array(mask).astype(np.uint16) * 257),
    "white and alpha": lambda mask: behind("RGBA", mask),
    "grey and alpha": lambda mask: behind("LA", mask),
    "labels": labels,
    "green": lambda mask: Image.merge("RGB", [Image.new("L", mask.size), mask, Image.new("L", mask.size)]),
}


@pytest.mark.parametrize("form", MASKS)
def test_masks_are_read_in_every_form(export, form):
    write(export, changed())
    for file in (export / "fg_masks").iterdir():
        MASKS[form](Image.open(file).convert("L")).save(file)
    coverage = FORMATS["vhap"](Options(path=export)).picture(2, "front")[1]
    assert (coverage[:, :8] == 255).all() and not coverage[:, 8:].any()


def test_masks_that_are_black_where_the_head_is_are_turned_round(export):
    write(export, changed(transform_matrix=np.diag([1.0, 1, 1, 1]).tolist()))
    for file in (export / "fg_masks").iterdir():
        inside = Image.new("L", (SIZE, SIZE), 255)
        inside.paste(0, (4, 4, 12, 12))
        inside.save(file)
    for file in (export / "flame_param").iterdir():
        np.savez(file, **dict(np.load(file)) | {"translation": np.array([[0, 0, -2.0]])})
    clip = FORMATS["vhap"](Options(path=export))
    coverage = clip.picture(0, "front")[1]
    assert coverage[8, 8] == 255 and coverage[0, 0] == 0 and "inverted" in clip.warnings[-1]


def test_masks_of_nobody_are_refused(export, tmp_path):
    write(export, changed())
    for file in (export / "fg_masks").iterdir():
        Image.new("L", (SIZE, SIZE)).save(file)
    with pytest.raises(UserError, match="nobody in any frame"):
        imported("vhap", tmp_path, path=export)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"expr": np.zeros((1, 50))}, "expr of 50 numbers; expected 100"),
        ({"rotation": np.zeros(4)}, "rotation of 4 numbers; expected 3"),
        ({"jaw_pose": np.array(["x"])}, "jaw_pose of type"),
        ({"jaw_pose": np.array([{}], object)}, "Python objects"),
    ],
)
def test_parameters_of_another_form_name_the_file(export, parts, message):
    np.savez(export / "flame_param" / "00003.npz", **flame_parameters(3) | parts)
    write(export, changed())
    with pytest.raises(UserError, match=rf"00003\.npz: found .*{message}"):
        FORMATS["vhap"](Options(path=export))


def test_missing_moments_make_shots_and_leave_their_sound_out(export, tmp_path):
    write(export, [f for f in changed(fps=10) if f["timestep_index"] != 2])
    soundfile.write(tmp_path / "talk.wav", np.repeat([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 1600), 16000)
    capture = imported("vhap", tmp_path, path=export, audio=tmp_path / "talk.wav")
    assert capture.manifest.shots == [(0, 2), (2, 5)]
    heard = capture.audio.reshape(5, 1600)[:, 800]
    np.testing.assert_allclose(heard, [0.1, 0.2, 0.4, 0.5, 0.6], atol=1e-3)


def test_of_several_cameras_one_is_taken_and_said(shared):
    write(shared, changed() + [f | {"camera_index": 7} for f in changed()[:3]])
    clip = FORMATS["vhap"](Options(path=shared))
    assert clip.frames == FRAMES and clip.provenance["camera"] == "0"
    assert "cameras 0, 7: 0 is taken" in clip.warnings[0]
