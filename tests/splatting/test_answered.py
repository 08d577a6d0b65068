"""What of the pictures' error each Gaussian answers for, on every path."""

import math
from dataclasses import replace

import pytest
import torch

from talkingavatar.splatting import answered, facing
from talkingavatar.splatting.cpu.backend import rasterise_cpu
from talkingavatar.splatting.gsplat_backend import rasterise_gsplat
from talkingavatar.splatting.plain import rasterise_plain
from tests.splatting.fake_kernels import Counted, kernels  # noqa: F401
from tests.splatting.scenes import cameras, cloud, concatenate, one

WHITE = torch.ones(3)


def shared_out(rasteriser, mode, gaussians, error, views):
    return answered(gaussians, error, lambda drawn: rasteriser(drawn, views, WHITE, mode))


@pytest.mark.parametrize("mode", ["3dgs", "2dgs"])
def test_all_paths_share_it_out_alike_and_none_is_lost(kernels, mode):  # noqa: F811
    """Of two views, as the Gaussians' opacities do; colours of any degree have no part in it."""
    views, gaussians = cameras(2, 36, 30), cloud(60, degree=1, seed=6)
    error = torch.rand(2, 30, 36, 1, generator=torch.Generator().manual_seed(1))
    plain = shared_out(rasterise_plain, mode, gaussians, error, views)
    alpha = rasterise_plain(gaussians, views, WHITE, mode).alpha
    torch.testing.assert_close(plain.sum(), (alpha * error).sum())
    assert plain.min() >= 0 and (plain > 0).sum() > 40
    for rasteriser in (rasterise_cpu, rasterise_gsplat):
        torch.testing.assert_close(shared_out(rasteriser, mode, gaussians, error, views), plain)


def test_what_is_hidden_answers_for_what_shows_through():
    """Of two surfels in line, where only the middle pixel is wrong."""
    scene = concatenate(one(opacity=0.75, scale=0.5), one((0.0, 0.0, 1.0), opacity=0.5, scale=0.5))
    views = cameras(1, 33, 33)
    centre = (views.Ks[0, :2, 2]).int()
    error = torch.zeros(1, 33, 33, 1)
    error[0, centre[1], centre[0]] = 4.0
    front, behind = shared_out(rasterise_cpu, "2dgs", scene, error, views)
    assert front == pytest.approx(3.0, rel=0.01) and behind == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize(("turn", "seen"), [(0.0, True), (1.0, True), (1.1, False), (2.0, False), (math.pi, True)])
def test_surfels_seen_from_aside_are_told(turn, seen):
    """By 60 degrees between their normal and the line of sight, whichever side shows, in one of the views."""
    quat = (math.cos(turn / 2), 0.0, math.sin(turn / 2), 0.0)
    views = cameras(2)
    alone = replace(views, viewmats=views.viewmats[:1], Ks=views.Ks[:1])
    assert facing(one(quat=quat), alone).tolist() == [seen]
    assert facing(one(quat=quat), views).tolist() == [seen or turn == 2.0]


def test_the_host_waits_for_nothing_but_gsplat_itself(kernels):  # noqa: F811
    views, gaussians = cameras(1, 36, 30), cloud(60, seed=6)
    error = torch.ones(1, 30, 36, 1)
    with Counted() as counted:
        shared_out(rasterise_gsplat, "2dgs", gaussians, error, views)
    assert counted.waits == []
