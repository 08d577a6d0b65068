"""What the page computes of its own, against what Python computes."""

import json

import numpy as np
import pytest
import torch

from talkingavatar.body.action_units import INTENSITY, NAMES, NamedFace, facial_actions
from talkingavatar.body.lips import opening_lever
from talkingavatar.body.models import load_body
from talkingavatar.data.prompts.ask import Ask, Track, track_of
from talkingavatar.drivers.unit_edit import UnitEdit
from talkingavatar.engine.performing.editing import edited
from talkingavatar.geometry.rotations import axis_angle_to_matrix, matrix_to_quat
from talkingavatar.geometry.slerp import quat_to_axis_angle
from talkingavatar.types import BodyPose, DrivingSignal
from talkingavatar.viewer.face import table, told
from tests.browser import Browser, executable
from tests.viewer.serving import serving, shown

FRAMES, FPS = 20, 10.0


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    if executable() is None:
        pytest.skip("no Chromium on the PATH")
    with serving([], shown) as port, Browser(tmp_path_factory.mktemp("profile"), 320, 240) as browser:
        browser.open(f"http://127.0.0.1:{port}/avatars.json")
        for name in ("face", "motion", "resample", "orbit"):
            browser.run(f"import('/assets/js/{name}.js').then((all) => Object.assign(window, all)).then(() => 1)")
        browser.errors.clear()  # a bare address has no icon
        yield browser
        assert browser.errors == []


def given(page, name, value) -> None:
    page.run(f"window.{name} = {json.dumps(value)}; 1")


@pytest.fixture(scope="module")
def body():
    return load_body("open_flame")


@pytest.fixture(scope="module")
def pose(body):
    """A face that moves, its jaw with it."""
    torch.manual_seed(0)
    pose = body.zero_pose(FRAMES)
    full_pose = pose.full_pose.clone()
    full_pose[:, body.joint_names.index("jaw"), 0] = 0.3 * torch.rand(FRAMES)
    return BodyPose(pose.betas, 0.4 * torch.rand(FRAMES, len(body.expression_names)), full_pose, pose.transl)


def faces(page, body, pose, units=None, asks=(), actions=None, recorded=1.0, lips=None):
    """Expression, turn of the jaw and residual (a fifth before) of all frames, as the page makes them."""
    quats = matrix_to_quat(axis_angle_to_matrix(pose.full_pose)).flatten(1)
    named = {"expressions": body.expression_names, "joints": body.joint_names, "units": NAMES}
    given(page, "manifest", named | {"lips": lips})
    given(page, "rows", [quats.tolist(), pose.expression.tolist()])
    given(page, "asks", [told(ask) for ask in asks])
    given(page, "told", {"actions": actions or {}, "units": units or {}, "recorded": recorded})
    given(page, "table", table())
    made = page.run(f"""(() => {{
      const [face, hands] = [new Face(manifest, table), new Hands()];
      hands.take(told);
      return rows[0].map((quats, t) => {{
        const frame = {{
          quats: Float32Array.from(quats), expression: Float32Array.from(rows[1][t]),
          residual: new Float32Array({len(NAMES)}).fill(0.2),
        }};
        face.apply(frame, hands, asks, t / {FPS});
        return [[...frame.quats], [...frame.expression], [...frame.residual]];
      }});
    }})()""")
    turned = quat_to_axis_angle(torch.tensor([row[0] for row in made]).unflatten(1, (-1, 4)))
    expression, residual = (torch.tensor([row[part] for row in made]) for part in (1, 2))
    return expression, turned[:, body.joint_names.index("jaw")], residual


def test_units_and_prompts_move_a_face_as_python_moves_it(page, body, pose):
    asks = [
        Ask(0.5, 1.2, {"AU12": 4.0, "AU04L": 2.5}, {"AU15": 0.8}, feeling=True),
        Ask(0.0, raised={"AU26": 1.0, "AU25": 2.0}, calmed={"AU45": 0.5}),
    ]
    units = {"AU01": 3.0, "AU20": 1.5}
    track = track_of(asks, FPS, FRAMES)
    raised = track.raised.copy()
    for name, value in units.items():
        raised[:, NAMES.index(name)] = np.maximum(raised[:, NAMES.index(name)], value)
    face = NamedFace(body)
    after = face.read(pose) * (1 - facial_actions(track.calmed, face.names, 1.0))
    expected = face.write(pose, np.maximum(after, facial_actions(raised, face.names)))
    expression, jaw, residual = faces(page, body, pose, units, asks)
    torch.testing.assert_close(expression, expected.expression, atol=1e-5, rtol=0)
    torch.testing.assert_close(jaw, expected.full_pose[:, body.joint_names.index("jaw")], atol=1e-5, rtol=0)
    assert (expression - pose.expression).abs().max() > 0.1
    edit = UnitEdit(Track(raised, track.calmed, track.weight))
    shares = edit.applied(torch.ones(FRAMES, len(NAMES))) / INTENSITY
    torch.testing.assert_close(residual, shares, atol=1e-6, rtol=0)


def test_a_feeling_leaves_the_lips_to_the_sound(page, body, pose):
    """As `drive` does; what is asked of the jaw itself opens it."""
    asks = [Ask(0.3, 1.4, {"AU12": 5.0, "AU25": 4.0}, feeling=True), Ask(1.6, raised={"AU26": 3.0})]
    lever = opening_lever(body, pose.betas[0])
    lips = {"basis": lever[0].tolist(), "rest": lever[1].tolist()}
    found, jaw, _ = faces(page, body, pose, asks=asks, lips=lips)
    signal = DrivingSignal(torch.full((FRAMES,), -1), pose)
    expected = edited(signal, body, track_of(asks, FPS, FRAMES)).pose
    torch.testing.assert_close(found, expected.expression, atol=1e-5, rtol=0)
    torch.testing.assert_close(jaw, expected.full_pose[:, body.joint_names.index("jaw")], atol=1e-4, rtol=0)
    assert (jaw - pose.full_pose[:, body.joint_names.index("jaw")]).abs()[4:13].max() > 0.02


def test_sliders_add_to_a_share_of_the_recorded_face(page, body, pose):
    expression, jaw, _ = faces(page, body, pose, actions={"browInnerUp": 0.25, "jawOpen": -0.5}, recorded=0.5)
    expected = 0.5 * pose.expression
    expected[:, body.expression_names.index("browInnerUp")] += 0.25
    torch.testing.assert_close(expression, expected, atol=1e-6, rtol=0)
    turn = 0.5 * pose.full_pose[:, body.joint_names.index("jaw"), 0] - 0.5 * table()["jawOpen"]
    torch.testing.assert_close(jaw[:, 0], turn, atol=1e-5, rtol=0)


def test_a_mirrored_face_mirrored_is_itself(page):
    given(page, "told", {
        "actions": {"eyeBlinkLeft": 1, "jawOpen": 0.2}, "units": {"AU12": 2}, "joints": {"left_eye_smplhf": [1, 2, 3]},
        "latents": {"latent 1": 0.5}, "recorded": 0.3,
    })  # fmt: skip
    once = page.run("window.hands = new Hands(); hands.take(told); hands.mirror(); hands.told()")
    assert once["actions"] == {"eyeBlinkRight": 1, "jawOpen": 0.2}
    assert once["joints"] == {"right_eye_smplhf": [1, -2, -3]}
    assert page.run("hands.mirror(); JSON.stringify(hands.told()) === JSON.stringify(told)")


@pytest.mark.parametrize("told", ["[]", "null", "3", '{"actions": {"jawOpen": "1"}}', '{"joints": {"jaw": [1, 2]}}'])
def test_what_is_no_face_is_refused(page, told):
    said = page.run(f"(() => {{ try {{ new Hands().take({told}); }} catch (e) {{ return e.message; }} }})()")
    assert said in ("This is no face.", "These are no values of a face.")


@pytest.mark.parametrize("rate", [44_100, 48_000, 16_000, 22_050])
def test_sound_of_any_rate_comes_out_at_16_khz(page, rate):
    """A tone keeps its place and height, in blocks of any size; one that 16 kHz cannot hold is gone."""
    made = page.run(f"""(() => {{
      const tone = (hertz) => {{
        const [resampler, out] = [new Resampler({rate}), []];
        for (let at = 0, size = 1; at < {rate} / 4; at += size, size = (size * 7) % 300 + 1) {{
          const wave = (_, i) => Math.sin((2 * Math.PI * hertz * (at + i)) / {rate});
          out.push(...resampler.push(Float32Array.from({{length: size}}, wave)));
        }}
        return out;
      }};
      return [tone(1000), tone(9500)];
    }})()""")
    kept, gone = (np.array(tone) for tone in made)
    assert 3900 < len(kept) <= 4400
    inside = slice(200, len(kept) - 10)
    np.testing.assert_allclose(kept[inside], np.sin(2 * np.pi * np.arange(len(kept)) / 16)[inside], atol=2e-3)
    if rate > 19_000:
        assert np.abs(gone[inside]).max() < 0.01


def test_between_two_frames_quaternions_go_the_short_way(page):
    turn = [float(x) for x in matrix_to_quat(axis_angle_to_matrix(torch.tensor([0.0, 0.6, 0.0])))]
    rows = [1, 0, 0, 0, *[0] * 4, *(-x for x in turn), 1, 2, 3, 4]
    made = page.run(f"""(() => {{
      const layout = new Layout({{joints: 1, expressions: 1, coefficients: 0}});
      const frame = new Motion(layout, Float32Array.from({rows}), 25).at(0.02);
      return [[...frame.quats], [...frame.transl], [...frame.expression]];
    }})()""")
    half = matrix_to_quat(axis_angle_to_matrix(torch.tensor([0.0, 0.3, 0.0]))).tolist()
    np.testing.assert_allclose(made[0], half, atol=1e-6)
    np.testing.assert_allclose([*made[1], *made[2]], [0.5, 1, 1.5, 2], atol=1e-6)


def test_a_hand_starts_where_the_captures_camera_stood(page):
    """Turned round a point on its axis: the same picture until it is moved."""
    made = page.run("""(() => {
      const canvas = document.createElement('canvas');
      const turn = [0.8, 0, -0.6, 0.1, -0.36, -0.8, -0.48, 0.3, -0.48, 0.6, -0.64, 2.5, 0, 0, 0, 1];
      const recorded = {viewmats: [turn], Ks: [[500, 0, 100, 0, 500, 100, 0, 0, 1]], width: 200, height: 200};
      const orbit = new Orbit(canvas, () => {});
      orbit.follow(turn, recorded.Ks[0], 200, [0, 0, 0]);
      const cameras = [orbit.camera(300, 200), fitted(recorded, 0, 300, 200).camera];
      return cameras.map(({viewmat, ...rest}) => [...viewmat, ...Object.values(rest)]);
    })()""")
    np.testing.assert_allclose(made[0], made[1], atol=1e-4)
