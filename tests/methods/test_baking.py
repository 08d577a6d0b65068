"""A baked avatar does what the method that it was baked of does."""

import copy
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch.nn.functional import normalize

from talkingavatar.body.models import load_body
from talkingavatar.config.compose import compose
from talkingavatar.methods import method_class
from talkingavatar.methods.context import MethodContext
from talkingavatar.networks.baked import posed
from talkingavatar.networks.cpu.poser import Poser
from talkingavatar.types import DrivingSignal
from tests.body.test_body import random_pose
from tests.methods.test_triangle_bound import TRAIN, batch_of

FRAMES = 6
# Experiment, body, overrides; "licensed": with pose correctives and joints that an expression moves.
CASES = {
    "flame_rigged": ("gaussianheadtalk_full", "head"),
    "flame_rigged, licensed": ("gaussianheadtalk_full", "licensed", "method.options.sh_degree=1"),
    "motion_latent": ("vasa3d_full", "head", "method.options.perceptual=edges"),
    "au_diffusion": ("emodifftalk_full", "head", "method.options.perceptual=edges"),
    "thgs": ("thgs_full", "body"),
    "thgs, centre": ("thgs_full", "body", "method.options.deform=centre", "method.options.saam=false"),
    "thgs, licensed": ("thgs_full", "licensed_body"),
}


def as_licensed(body):
    """What the open rig has none of, as SMPL-X and FLAME have it."""
    made, generator = copy.deepcopy(body), torch.Generator().manual_seed(3)
    vertices, joints, expressions = len(body.v_template), len(body.parents), body.expressiondirs.shape[2]
    posedirs = 2e-3 * torch.randn(9 * (joints - 1), 3 * vertices, generator=generator)
    posedirs[9:] = 0  # of one joint alone
    made.register_buffer("posedirs", posedirs, persistent=False)
    moved = 1e-3 * torch.randn(joints, 3, expressions, generator=generator)
    made.register_buffer("_joint_expressiondirs", moved, persistent=False)
    return made


@pytest.fixture(scope="module")
def make():
    @cache
    def build(experiment, name, *overrides):
        rig = load_body("open" if "body" in name else "open_flame")
        rig = as_licensed(rig) if "licensed" in name else rig
        config = compose([f"experiment={experiment}", "budget.steps=1000", "data.size=64", *overrides])
        signal = performed(rig)
        context = MethodContext(
            config, rig, signal.pose, TRAIN, 44, lambda frames: batch_of(signal.pose, frames), signal.latent
        )
        method = stirred(method_class(config.method.name)(context)).eval().requires_grad_(False)
        return method, signal

    return build


def performed(rig):
    generator = torch.Generator().manual_seed(0)

    def random(*shape, scale):
        return scale * torch.randn(FRAMES, *shape, generator=generator)

    pose = random_pose(rig, FRAMES)
    pose = replace(
        pose,
        betas=pose.betas[:1].expand(FRAMES, -1),
        expression=random(pose.expression.shape[1], scale=0.2),
        full_pose=random(*pose.full_pose.shape[1:], scale=0.15),
        transl=random(3, scale=0.02),
    )
    rows = torch.full((FRAMES,), -1)
    return DrivingSignal(rows, pose, random(8, 16, 44, scale=1.0), random(39, scale=1.0), random(17, scale=1.0).abs())


def stirred(method):
    """As if it had learned: everything that may change does something."""
    torch.manual_seed(0)
    method.step = 1000
    with torch.no_grad():
        for name, spread in {
            "means": 5e-4 if method.__class__.__name__ == "THGS" else 0.1,
            "quats": 0.1,
            "sh": 0.1,
        }.items():
            method.gaussians[name] += spread * torch.randn_like(method.gaussians[name])
        for name, parameter in method.named_parameters():
            if name in ("shape", "leb.residual") or name.endswith("lines"):
                parameter += 0.05 * torch.randn_like(parameter) * (1e-2 if name == "leb.residual" else 1)
            if name.startswith("residuals.") and "network" in name:
                parameter += 0.01 * torch.randn_like(parameter)
            if name == "saam.decoder.6.weight":
                parameter += 0.01 * torch.randn_like(parameter)
    return method


@pytest.mark.parametrize("case", CASES)
def test_baked_gaussians_are_the_methods_own(make, case):
    method, signal = make(*CASES[case])
    baking = method.bake(signal)
    camera = batch_of(signal.pose, [0]).cameras
    for t in range(2):
        now = signal[t : t + 1]
        expected, found = method.drive(now), posed(baking.avatar, baking.moments(now))
        assert apart(expected, found) < 2e-5  # most of it of weights that hardly vary
        torch.testing.assert_close(found.scales, expected.scales, atol=1e-6, rtol=1e-3)
        torch.testing.assert_close(found.opacities, expected.opacities, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.sh, expected.sh, atol=1e-5, rtol=0)
        assert decibels(method, expected, found, camera) > 60


def apart(one, other):
    """Metres between the same Gaussians, at most."""
    return (one.means - other.means).norm(dim=1).max()


def decibels(method, one, other, camera):
    pictures = [method.render(gaussians, camera).rgb for gaussians in (one, other)]
    return -10 * (pictures[0] - pictures[1]).square().mean().clamp_min(1e-12).log10()


def test_compiled_they_are_the_same(make):
    """Of all that a pass may have to do: residuals in proportion and limited, correctives, joints that move."""
    for case in CASES:
        method, signal = make(*CASES[case])
        baking = method.bake(signal)
        fast, moments = Poser(baking.avatar), baking.moments(signal[:4])  # as many as are summed at once
        together = fast(moments)
        assert len(together) == 4
        for t, found in enumerate(together):
            moment = moments[t : t + 1]
            torch.testing.assert_close(moment.residual, baking.moments(signal[t : t + 1]).residual)
            (alone,) = fast(moment)  # as it is in a live stream
            for name, values in vars(found).items():
                torch.testing.assert_close(values, getattr(alone, name), atol=1e-6, rtol=1e-5)
            expected = posed(baking.avatar, moment)
            torch.testing.assert_close(found.means, expected.means, atol=2e-6, rtol=0)
            alike = (normalize(found.quats, dim=1) * normalize(expected.quats, dim=1)).sum(1).abs()
            assert alike.min() > 1 - 1e-5
            torch.testing.assert_close(found.scales, expected.scales, atol=1e-7, rtol=1e-3)
            torch.testing.assert_close(found.opacities, expected.opacities, atol=2e-4, rtol=0)
            torch.testing.assert_close(found.sh, expected.sh, atol=2e-4, rtol=0)
