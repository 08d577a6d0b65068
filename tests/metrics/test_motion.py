import numpy as np
import pytest
import torch

from talkingavatar.body.models import load_body
from talkingavatar.config.compose import compose
from talkingavatar.data.speaker.parameters import BodyParameters
from talkingavatar.data.speaker.record import Pinhole, recording_of
from talkingavatar.errors import UserError
from talkingavatar.metrics.motion import JitterMeter, acceleration_error, jitter, jitter_ratio, metered, sample_colours

RNG = np.random.default_rng(0)
T = np.arange(60.0)


def cubic():
    """Six points on cubic paths."""
    powers = (T[:, None] / 60) ** np.arange(4)
    return np.einsum("tp,pnd->tnd", powers, RNG.normal(size=(4, 6, 2)) * 100)


@pytest.mark.parametrize("deviation", [0.1, 0.5, 3.0])
def test_white_noise_has_its_own_deviation(deviation):
    noise = RNG.normal(0, deviation, (2000, 20, 2))
    assert jitter(noise) == pytest.approx(deviation, rel=0.02)


def test_it_rises_with_planted_noise_on_motion():
    noise = RNG.normal(size=(60, 6, 2))
    values = [jitter(cubic() + deviation * noise) for deviation in (0, 0.1, 0.2, 0.5, 1, 2)]
    assert values[0] < 1e-9 and (np.diff(values) > 0).all()


def test_no_difference_crosses_a_cut():
    jump = cubic()
    jump[25:] += 50
    assert jitter(jump) > 1
    assert jitter(jump, [(0, 25), (25, 60)]) < 1e-9
    assert np.isnan(jitter(jump, [(start, start + 4) for start in range(0, 60, 4)]))


def test_gaps_leave_out_only_what_they_touch():
    points = cubic()
    points[30, 2] = 1e4
    points[30, 3] = np.nan
    hidden = points.copy()
    hidden[30, 2] = np.nan
    assert jitter(points) > 100 and jitter(hidden) < 1e-9
    assert np.isnan(jitter(np.full((9, 2, 2), np.nan)))


def test_streaming_is_the_same():
    points = cubic() + RNG.normal(size=(60, 6, 2))
    meter = JitterMeter()
    for row in points[:20]:
        meter.add(row)
    meter.cut()
    for row in points[20:]:
        meter.add(row)
    assert meter.value() == pytest.approx(jitter(points, [(0, 20), (20, 60)]))
    assert len(meter._rows) == 5
    every = meter.by_frame()
    assert np.flatnonzero(np.isnan(every)).tolist() == [0, 1, 18, 19, 20, 21, 58, 59], "where not all five are one shot"
    assert np.sqrt(np.nanmean(every**2)) == pytest.approx(meter.value())


def test_a_frame_that_jumps_is_the_one_that_is_told():
    points = cubic()
    points[30] += 1.0
    assert np.nanargmax(metered(points).by_frame()) == 30


@pytest.fixture(scope="module")
def performed():
    """Joints and landmarks of the embedded speaker in pixels of a 512 px picture, 12 s."""
    recording = recording_of(compose(["data.seconds=12", "data.size=512"]).data)
    body = load_body("open")
    true = BodyParameters.true(recording.performance, recording.scene.betas, body.expression_names)
    vertices, joints = true.posed(body)
    camera = Pinhole(*recording.scene.camera())
    marks = body.landmarks(torch.from_numpy(vertices)).numpy()
    return camera.project(joints), camera.project(marks)


def test_honest_motion_is_no_jitter(performed):
    for points in performed:
        mean = points.mean(0)
        twice = mean + 2 * (points - mean)
        noisy = points + RNG.normal(0, 0.5, points.shape)
        assert np.ptp(twice, axis=0).max() > 30
        assert 3 * jitter(twice) < jitter(noisy)
        assert jitter_ratio(twice, points) == pytest.approx(2) and jitter_ratio(noisy, points) > 4


def test_acceleration_error_in_closed_form():
    truth = cubic()
    assert acceleration_error(truth + 3 * T[:, None, None], truth) == pytest.approx(0, abs=1e-9)
    pushed = truth + np.stack([1.5 * T**2, 2 * T**2], -1)[:, None]
    assert acceleration_error(pushed, truth) == pytest.approx(5)
    pushed[40, 0] = np.nan
    assert acceleration_error(pushed, truth, [(0, 30), (30, 60)]) == pytest.approx(5)
    assert np.isnan(acceleration_error(truth[:2], truth[:2]))


def test_colours_between_pixels():
    picture = torch.rand(5, 7, 3, dtype=torch.float64)
    places = np.array([[2.5, 1.5], [3.0, 1.5], [0.0, 0.0], [7.0, 5.0], [-0.1, 2.0], [np.nan, 1.0]])
    colours = sample_colours(picture, places)
    assert colours[0] == pytest.approx(picture[1, 2].numpy())
    assert colours[1] == pytest.approx(picture[1, 2:4].mean(0).numpy())
    assert colours[2] == pytest.approx(picture[0, 0].numpy()) and colours[3] == pytest.approx(picture[-1, -1].numpy())
    assert np.isnan(colours[4:]).all()
    plane = torch.arange(7.0)[None, :, None] + 10 * torch.arange(5.0)[:, None, None].expand(5, 7, 1)
    inside = RNG.uniform((0.5, 0.5), (6.5, 4.5), (20, 2))
    assert sample_colours(plane, inside)[:, 0] == pytest.approx((inside - 0.5) @ (1, 10), abs=1e-4)


def test_texture_that_moves_along_does_not_flicker():
    def picture(shift, gain=1.0):
        x = torch.arange(64.0) + 0.5 - shift
        return (gain * (0.5 + 0.3 * torch.sin(x / 4)))[None, :, None].expand(8, 64, 3)

    places = np.stack([np.linspace(10, 40, 9), np.full(9, 4.0)], -1)
    shifts = 5 + 4 * np.sin(1.2 * T)  # a fast shake
    riding = np.stack([sample_colours(picture(s), places + np.array([s, 0])) for s in shifts])
    fixed = np.stack([sample_colours(picture(s), places) for s in shifts])
    gains = 1 + 0.02 * RNG.normal(size=len(T))
    flicker = np.stack(
        [sample_colours(picture(s, g), places + np.array([s, 0])) for s, g in zip(shifts, gains, strict=True)]
    )
    assert 5 * jitter(riding) < jitter(fixed) and 5 * jitter(riding) < jitter(flicker)
    assert jitter(flicker) == pytest.approx(0.02 * np.sqrt(np.square(riding).mean()), rel=0.3)


def test_mistakes_are_named():
    with pytest.raises(UserError, match="same points"):
        meter = JitterMeter()
        meter.add(np.zeros((3, 2)))
        meter.add(np.zeros((4, 2)))
    with pytest.raises(UserError, match="ground truth"):
        acceleration_error(np.zeros((9, 3, 2)), np.zeros((8, 3, 2)))
    with pytest.raises(UserError, match="inside 0 to 9"):
        jitter(np.zeros((9, 3, 2)), [(0, 10)])
