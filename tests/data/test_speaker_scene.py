"""The synthetic speaker's pictures and geometry."""

import os
from functools import cache

import numpy as np
import pytest

from talkingavatar.data.speaker.identity import IDENTITIES, person
from talkingavatar.data.speaker.scene import SpeakerScene, joint_transforms

SIZE = 128
STILL = np.zeros((55, 3))
ORIGIN = np.zeros(3)
JAW, LEFT_EYE, RIGHT_EYE = 22, 23, 24


@cache
def scene(identity: int = 0) -> SpeakerScene:
    return SpeakerScene(identity, SIZE, SIZE)


def close_up(which: SpeakerScene, point: np.ndarray, zoom: float):
    """The frontal camera with a longer lens on a point."""
    K, viewmat = which.camera()
    at = viewmat[:3, :3] @ point + viewmat[:3, 3]
    K = K.copy()
    K[0, 0] = K[1, 1] = K[0, 0] * zoom
    K[:2, 2] = SIZE / 2 - K[0, 0] * at[:2] / at[2]
    return K, viewmat


def posed(**joints) -> np.ndarray:
    pose = STILL.copy()
    for name, rotation in joints.items():
        pose[int(name[1:])] = rotation
    return pose


def figure_vertices(which: SpeakerScene, part: str, full_vertices: np.ndarray) -> np.ndarray:
    """Rows of a part of the figure that are these vertices of the full mesh."""
    inside = which.figure.vertex_part == which.figure.part_names.index(part)
    return np.flatnonzero(inside & np.isin(which.figure.sources[:, 0], full_vertices))


def test_picture_and_matte_agree():
    rgb, matte = scene().render(STILL, ORIGIN, {})
    assert rgb.shape == (SIZE, SIZE, 3) and matte.shape == (SIZE, SIZE)
    assert (rgb[matte == 0] == 255).all()
    assert 0.15 < (matte == 255).mean() < 0.7
    rows = np.flatnonzero(matte.max(1))
    assert rows[0] < 0.1 * SIZE and rows[-1] == SIZE - 1  # from the crown to the lower edge


def test_strangers_are_drawn_by_number():
    named, strangers = len(IDENTITIES), [person(number) for number in range(len(IDENTITIES), 40)]
    assert person(named) == strangers[0] and len({who.skin.tone for who in strangers}) == len(strangers)
    assert {who.hair.style for who in strangers} == {"bob", "long", "short", "none"}
    assert all(0 < channel < 1 for who in strangers for channel in (*who.skin.tone, *who.hair.light, *who.clothes.main))
    assert person(9, "pinstripe").clothes.pattern == "pinstripe" and person(9).clothes.pattern != "pinstripe"
    _, matte = scene(9).render(STILL, ORIGIN, {})
    nose = close_up(scene(9), scene(9).face["nose"], 12)
    skin = np.median(scene(9).render(STILL, ORIGIN, {}, nose)[0].reshape(-1, 3), 0) / 255
    assert 0.15 < (matte == 255).mean() < 0.7 and np.abs(skin - person(9).skin.tone).max() < 0.1


def test_same_bytes_again_and_for_any_number_of_threads(monkeypatch):
    smile = {"mouthSmileLeft": 0.7, "jawOpen": 0.2}
    first = scene().render(posed(j16=[0, 0, -1.0]), ORIGIN, smile)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    alone = SpeakerScene(0, SIZE, SIZE).render(posed(j16=[0, 0, -1.0]), ORIGIN, smile)
    assert first[0].tobytes() == alone[0].tobytes() and first[1].tobytes() == alone[1].tobytes()


def test_identities_differ():
    pictures = [scene(i).render(STILL, ORIGIN, {})[0].astype(int) for i in range(len(IDENTITIES))]
    assert len(IDENTITIES) >= 3
    for i in range(len(pictures)):
        for j in range(i):
            assert np.abs(pictures[i] - pictures[j]).mean() > 8


def test_geometry_is_the_rigs():
    """Skin that no clothes or details move equals the rig's linear blend skinning of the same vertices."""
    who = scene()
    pose = posed(j16=[0.2, -0.3, -0.9], j18=[0.1, -1.2, 0.2], j20=[0.3, 0.1, 0.0])
    transl = np.array([0.03, -0.02, 0.05])
    got = who.vertices(pose, transl, {})
    full = who.full
    ids = np.flatnonzero(full.vertices[:, 0] > 0.8)
    ids = ids[np.isin(ids, full.group_faces("body"))]
    shaped = full.vertices + full.shapedirs @ who.betas
    moves = joint_transforms(pose, who.joints, who.skeleton.parents)
    blended = np.einsum("vj,jab->vab", full.weights[ids], moves)
    expected = np.einsum("vab,vb->va", blended[..., :3], shaped[ids]) + blended[..., 3] + transl
    rows = figure_vertices(who, "hands", ids)
    order = np.searchsorted(ids, who.figure.sources[rows, 0])
    assert len(rows) > 500 and np.abs(got[rows] - expected[order]).max() < 1e-5


def test_blink_covers_the_iris():
    who = scene()
    view = close_up(who, who.joints[LEFT_EYE] + [0, 0, 0.015], 22.0)
    open_eye, _ = who.render(STILL, ORIGIN, {}, view)
    shut, _ = who.render(STILL, ORIGIN, {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}, view)
    middle = slice(SIZE // 2 - 12, SIZE // 2 + 12)
    pupil = open_eye[middle, middle].min(-1)
    assert pupil.min() < 45  # the pupil is there to be covered
    eyeball = who.figure.mesh.material == who.figure.part_names.index("eyes")
    assert not eyeball[who.visible_faces(STILL, ORIGIN, {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}, view)].any()
    assert np.abs(shut[middle, middle].astype(int) - open_eye[middle, middle]).mean() > 15


def test_eyes_follow_their_joints():
    who = scene()
    view = close_up(who, who.joints[LEFT_EYE] + [0, 0, 0.015], 22.0)
    dark = []
    for turn in (-0.3, 0.3):
        pose = posed(j23=[0, turn, 0], j24=[0, turn, 0])
        rgb, _ = who.render(pose, ORIGIN, {}, view)
        window = rgb[SIZE // 2 - 14 : SIZE // 2 + 14].min(-1)
        dark.append(np.argwhere(window < 50)[:, 1].mean())
    assert dark[1] - dark[0] > 8  # to the person's left, the picture's right


def test_open_jaw_shows_tongue_and_teeth_in_a_dark_mouth():
    who = scene(0)
    mouth = who.vertices(STILL, ORIGIN, {})[figure_vertices(who, "head", np.array([474]))].mean(0)
    view = close_up(who, mouth, 12.0)
    lips_apart = {"mouthUpperUpLeft": 0.6, "mouthUpperUpRight": 0.6}
    part = who.figure.part_names.index

    def seen(pose: np.ndarray, expression: dict) -> np.ndarray:
        """Visible faces of each part."""
        faces = who.visible_faces(pose, ORIGIN, expression, view)
        return np.bincount(who.figure.mesh.material[faces], minlength=len(who.figure.part_names))

    opened = posed(j22=[0.3, 0, 0])
    shut, wide = seen(STILL, {}), seen(opened, lips_apart)
    for name in ("mouth", "upper teeth", "tongue"):
        assert wide[part(name)] > shut[part(name)] + 4
    rgb, _ = who.render(opened, ORIGIN, lips_apart, view)
    closed, _ = who.render(STILL, ORIGIN, {}, view)
    assert (rgb.max(-1) < 50).sum() > (closed.max(-1) < 50).sum() + 50


@pytest.mark.parametrize("identity", range(len(IDENTITIES)))
def test_detail_rests_when_the_face_does(identity):
    who = scene(identity)
    neutral = np.zeros(len(who.expression_names))
    assert not who.detail.activations(neutral).any()
    assert not who.detail.overlay_weights(neutral).any()


@pytest.mark.parametrize("identity", range(len(IDENTITIES)))
def test_smile_pulls_one_corner_further(identity):
    who = scene(identity)
    channel = [c.name for c in who.detail.channels].index("smile_pull")
    strong = who.detail.directions[..., channel]
    length = np.linalg.norm(strong, axis=-1)
    side = np.sign(IDENTITIES[identity].crooked)
    on_side = who.full.vertices[:, 0] * side > 0.012
    assert 0.005 < length[on_side].max() < 0.009
    assert length[who.full.vertices[:, 0] * side < -0.012].max() < 1e-6


def test_overlay_draws_creases():
    who = scene(2)
    raised = {"browInnerUp": 1.0, "browOuterUpLeft": 1.0, "browOuterUpRight": 1.0}
    weights = who.detail.overlay_weights(who.coefficients(raised))
    drawn = (who.detail.overlay * weights).sum(-1)
    assert drawn.min() < -40
