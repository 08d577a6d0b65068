"""Cloth of the embedded speaker that is no one's own."""

from dataclasses import replace

import numpy as np

from talkingavatar.data.speaker.identity import IDENTITIES, person
from talkingavatar.data.speaker.texture import TexelMap
from talkingavatar.data.speaker.wardrobe import PINSTRIPE, Fit, paint_top

FIT = Fit(np.array([0.0, 1.4, 0.1]), np.array([0.7, 1.4, 0.0]), shoulder=0.2, hem=0.9)


def test_a_pinstripe_is_as_fine_as_it_says_and_has_no_edges():
    """Round a chest of the radius that stripes are measured on: one wave a period, nothing finer."""
    turn = np.linspace(-1.0, 1.0, 400)
    ring = np.stack([0.15 * np.sin(turn), np.full(400, 1.15), 0.15 * np.cos(turn) + FIT.pit[2] - 0.09], -1)
    where = TexelMap(ring[None].astype(np.float32), np.zeros((1, 400, 3), np.float32))
    rgb = paint_top(where, FIT, person(0, "pinstripe"))[0, :, :3].astype(float)
    power = np.abs(np.fft.rfft((rgb - rgb.mean(0)).sum(1) * np.hanning(400))) ** 2
    waves = 0.15 * 2.0 / PINSTRIPE
    assert abs(int(power.argmax()) - waves) < 1
    assert power[int(1.5 * waves) :].sum() < 0.05 * power.sum()
    assert np.ptp(rgb, axis=0).min() > 100


def test_a_cloth_changes_what_is_worn_and_nothing_else():
    assert person(1, "own") is IDENTITIES[1]
    assert replace(person(1, "pinstripe"), clothes=IDENTITIES[1].clothes) == IDENTITIES[1]
