"""Measures of facial motion, in closed form; vertices in metres, answers in millimetres."""

import math

import pytest
import torch

from talkingavatar.metrics.face_motion import (
    dynamics_deviation,
    lip_vertex_error,
    mean_distance,
    pairwise_distance,
    velocity_error,
)

STILL = torch.zeros(4, 3, 3)


def test_lve_is_of_the_worst_vertex_of_each_frame():
    moved = STILL.clone()
    moved[0, 1, 2], moved[1, 0], moved[1, 2, 0] = 2e-3, 1e-3, 1e-3
    assert lip_vertex_error(moved, STILL) == pytest.approx((4 + 3) / 4)
    assert lip_vertex_error(STILL, moved) == lip_vertex_error(moved, STILL)


def test_fdd_says_who_moves_more_and_nothing_of_when():
    swaying = STILL.clone()
    swaying[::2, 0, 1] = 2e-3  # squared distances of 4 and 0 mm^2: a deviation of 2 in one of three vertices
    assert dynamics_deviation(STILL, swaying, STILL[0]) == pytest.approx(2 / 3)
    assert dynamics_deviation(swaying, STILL, STILL[0]) == pytest.approx(-2 / 3)
    late = swaying.roll(1, 0)
    assert dynamics_deviation(late, swaying, STILL[0]) == pytest.approx(0)
    assert velocity_error(late, swaying) == pytest.approx(4 / 3), "which the velocities see"


def test_velocities_are_not_compared_across_a_cut():
    jumping = STILL.clone()
    jumping[2:, :, 0] = 3e-3
    assert velocity_error(jumping, STILL) == pytest.approx(1)
    assert velocity_error(jumping, STILL, [(0, 2), (2, 4)]) == 0
    assert math.isnan(velocity_error(jumping[:1], STILL[:1]))


def test_diversity_is_the_mean_distance_of_any_two():
    motions = [STILL + torch.tensor([x, 0.0, 0.0]) for x in (0.0, 1e-3, 3e-3)]
    assert pairwise_distance(motions) == pytest.approx((1 + 2 + 3) / 3)
    assert mean_distance(motions[0], motions[2]) == pytest.approx(3)
    assert math.isnan(pairwise_distance(motions[:1]))
