"""What a portrait's lids and lips hide: iris and white are filled from their own, lips lose what shows between them."""

import numpy as np
import pytest

from talkingavatar.data.portrait.eye import HALF, Eye
from talkingavatar.data.portrait.inside import lips_alone, tooth_like

SIZE, SCALE = 80, 2000.0  # pixels; pixels a metre
IRIS, WHITE, SKIN = (60, 90, 70), (220, 215, 210), (200, 150, 130)


def drawn(x: float, y: float, radius: float):
    """An eye with its iris there (metres from the ball's axis), of which the middle strip is seen between lids."""
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    across, down = (columns - SIZE / 2) / SCALE, (rows - SIZE / 2) / SCALE
    picture = np.where((np.hypot(across - x, down - y) < radius)[..., None], IRIS, WHITE).astype(np.uint8)
    shown = np.abs(down) < 0.0045
    shown &= np.abs(across) < 0.011
    picture[~shown] = SKIN
    return picture, shown


@pytest.mark.parametrize(("x", "y", "radius"), [(0, 0, 6e-3), (1e-3, -0.5e-3, 5.5e-3)])
def test_lids_that_open_show_more_of_the_iris_and_no_second_one(x, y, radius):
    picture, shown = drawn(x, y, radius)
    corners = np.array([[-0.012, -0.012], [0.012, -0.012], [0.012, 0.012], [-0.012, 0.012]])
    eye = Eye(corners, corners * SCALE + SIZE / 2, shown, picture)
    np.testing.assert_allclose(eye.middle, (x, y), atol=6e-4)
    assert eye.radius == pytest.approx(radius, abs=6e-4)
    line = np.linspace(-HALF + 1e-3, HALF - 1e-3, 40)
    places = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    colours, known = eye.looked_up(places)
    away = np.linalg.norm(places - (x, y), axis=1)
    assert np.abs(colours[away < radius - 1e-3] - IRIS).max() < 12
    assert np.abs(colours[away > radius + 1.2e-3] - WHITE).max() < 12  # nowhere skin, nowhere another iris
    assert known[(np.abs(places[:, 1]) < 3e-3) & (np.abs(places[:, 0]) < 9e-3)].all()
    assert not known[np.abs(places[:, 1]) > 6e-3].any()


def test_an_eye_that_is_not_seen_is_an_eye():
    picture, _ = drawn(0, 0, 6e-3)
    corners = np.array([[-0.012, -0.012], [0.012, -0.012], [0.012, 0.012]])
    eye = Eye(corners, corners * SCALE + SIZE / 2, np.zeros((SIZE, SIZE), bool), picture)
    colours, known = eye.looked_up(np.array([[0.0, 0.0], [0.0, 0.011]]))
    assert not known.any() and colours[0].mean() < 80 and colours[1].mean() > 180


def test_lips_lose_the_teeth_between_them():
    picture = np.full((40, 60, 3), SKIN, np.uint8)
    picture[12:28, 10:50] = (190, 90, 95)  # lips
    picture[18:22, 16:44] = (225, 215, 195)  # teeth
    picture[18:22, 14:16] = 20  # the dark beside them
    teeth = tooth_like(picture, np.array(SKIN, float))
    assert teeth[19:21, 17:43].all() and not teeth[13:16, 12:48].any() and not teeth[2:10].any()
    inside = np.zeros((40, 60), bool)
    inside[19:21, 14:44] = True  # the mesh's lips lie over the teeth by a pixel
    alone = lips_alone(picture, inside, teeth, 2)
    assert np.abs(alone[14:26, 18:42].astype(int) - (190, 90, 95)).max() <= 2
    assert np.array_equal(alone[:12], picture[:12])
