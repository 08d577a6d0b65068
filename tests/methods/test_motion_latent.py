"""VASA-3D's head."""

import copy
from dataclasses import replace
from functools import cache

import pytest
import torch

from talkingavatar.body.action_units import JAW_OPEN
from talkingavatar.config.compose import compose
from talkingavatar.config.rows import GROUPS
from talkingavatar.errors import UserError
from talkingavatar.geometry.cameras import eyes
from talkingavatar.methods import method_class
from talkingavatar.methods.context import MethodContext
from tests.methods.test_triangle_bound import TRAIN, batch_of, body, poses, signal  # noqa: F401

LATENT = 39


@pytest.fixture(scope="module")
def latents(poses):  # noqa: F811
    return torch.randn(len(poses), LATENT, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def make(body, poses, latents):  # noqa: F811
    @cache
    def build(experiment, recorded, *overrides):
        config = compose(
            [f"experiment={experiment}", "budget.steps=1000", "data.size=64", "method.options.perceptual=edges",
             *overrides]
        )  # fmt: skip

        def look(frames):
            batch = batch_of(poses, frames)
            return replace(batch, signal=replace(batch.signal, latent=latents[frames] if recorded else None))

        context = MethodContext(config, body, poses, TRAIN, 44, look, latents if recorded else None)
        return method_class(config.method.name)(context)

    return lambda experiment="vasa3d_full", recorded=True, *overrides: copy.deepcopy(
        build(experiment, recorded, *overrides)
    )


def stirred(method):
    """With residuals that do something."""
    for part in method.residuals.values():
        torch.nn.init.normal_(part.network[-1].weight, std=0.01)
    return method


def test_the_latent_drives_it_not_the_pose(make, poses, latents):  # noqa: F811
    method = stirred(make())
    told = replace(signal(poses, 1), latent=latents[[1]])
    other = replace(told, pose=poses[[3]])
    assert torch.equal(method.drive(told).means, method.drive(other).means)
    assert not torch.allclose(method.drive(told).means, method.drive(replace(told, latent=latents[[3]])).means)


def test_warm_mappers_start_at_the_tracked_pose_of_a_recorded_person(make, poses):  # noqa: F811
    method = make("vasa3d_full", False)
    for frame in TRAIN:
        mapped = method.refined_pose(signal(poses, frame))
        torch.testing.assert_close(mapped.expression, poses.expression[[frame]], atol=0.05, rtol=0)
        torch.testing.assert_close(mapped.full_pose, poses.full_pose[[frame]], atol=0.05, rtol=0)
        torch.testing.assert_close(mapped.transl, poses.transl[[frame]], atol=5e-3, rtol=0)


def test_what_no_frame_shows_is_mapped_too(make, poses):  # noqa: F811
    """A mouth that the action jawOpen opens, of a person whose tracker only ever turns the jaw."""
    method, asked = make("vasa3d_full", False), signal(poses, 1)
    expression = asked.pose.expression.clone()
    expression[:, method.body.expression_names.index("jawOpen")] = 0.8
    opened = method.refined_pose(replace(asked, pose=replace(asked.pose, expression=expression)))
    jaw = method.body.joint_names.index("jaw")
    turned = opened.full_pose[0, jaw, 0] - method.refined_pose(asked).full_pose[0, jaw, 0]
    assert 0.5 * JAW_OPEN * 0.8 < turned < 1.2 * JAW_OPEN * 0.8


def test_both_layers_are_the_same_until_the_residual_learns(make, poses):  # noqa: F811
    method = make().eval()
    layers = method.deform(signal(poses, 1))
    assert list(layers) == ["base", "shown"]
    assert torch.equal(layers["base"].means, layers["shown"].means)
    layers = stirred(method).deform(signal(poses, 1))
    for name in ("means", "quats", "scales", "opacities", "sh"):
        assert not torch.allclose(getattr(layers["base"], name), getattr(layers["shown"], name)), name
    assert torch.equal(layers["shown"].means, method.drive(signal(poses, 1)).means)


def test_face_numbers_change_the_head_alone_and_head_numbers_the_rest_alone(make, poses, latents):  # noqa: F811
    method = stirred(make())
    on_head = method.on_head[method.carried_binding]
    raw = dict(method.gaussians)
    changed = method._changed(raw, latents[0])["means"]
    for part, moves in ((slice(0, method.dyn), on_head), (slice(method.dyn, None), ~on_head)):
        other = latents[0].clone()
        other[part] += 1
        moved = (method._changed(raw, other)["means"] - changed).abs().sum(1)
        assert moved[moves].mean() > 0 and moved[~moves].max() == 0


def test_who_drives_it_makes_no_direction_anew(make, poses, latents):  # noqa: F811
    method = stirred(make()).requires_grad_(False)
    told = [replace(signal(poses, 1), latent=latents[[frame]]) for frame in (1, 3)]
    made = []
    for part in method.residuals.values():
        part.network.register_forward_hook(lambda *_: made.append(1))
    with torch.no_grad():
        first, second, again = (method.drive(told[i]).means for i in (0, 1, 0))
        assert len(made) == 2 and not torch.equal(first, second) and torch.equal(first, again)
        method.gaussians["own"] += 1
        assert not torch.equal(method.drive(told[0]).means, first) and len(made) == 4


def test_sides_are_drawn_of_both_layers_and_the_base_is_not_taught_there(make, poses, latents):  # noqa: F811
    method = make()
    method.step = 400
    batch = batch_of(poses, [0])
    batch = replace(batch, signal=replace(batch.signal, latent=latents[[0]]))
    shots = method.shots(batch)
    assert shots["side_base"].frozen and not shots["side"].frozen and not shots["side"].grows
    centre = batch.signal.pose.transl[0] + method.centre
    ahead, aside = (eyes(c.viewmats)[0] - centre for c in (batch.cameras, shots["side"].cameras))
    ahead[1] = aside[1] = 0
    turned = torch.rad2deg(torch.acos(torch.cosine_similarity(ahead, aside, dim=0)))
    assert 35 <= turned <= 55
    method.step = 401
    assert {"side", "side_base"}.isdisjoint(method.shots(batch))


def steps_of(method, poses, count, **inputs):  # noqa: F811
    """A few steps as Lightning takes them, with these inputs of all frames; the terms that were told."""
    optimiser = method.configure_optimizers()
    method.optimizers = lambda use_pl_optimizer=True: optimiser
    told = set()
    for step in range(count):
        method._trainer = type("Trainer", (), {"global_step": step})()
        type(method).global_step = property(lambda self: self._trainer.global_step)
        frame = [TRAIN[step % 3]]
        batch = batch_of(poses, frame)
        chosen = {name: values[frame] for name, values in inputs.items()}
        batch = replace(batch, signal=replace(batch.signal, **chosen))
        method.on_train_batch_start(batch, step)

        def closure(batch=batch, step=step):
            loss = method.training_step(batch, step)
            loss.backward()
            return loss

        method.optimizer_step(0, step, optimiser, closure)
        told |= set(method.scalars.names)
    return told


STARTED = (
    "method.paper_steps=1000",
    *(f"method.schedule.{n}.start=0" for n in ("pose", "shoulders", "mapper", "shape", "own", "residual", "critic")),
    *(f"loss.terms.base_{n}.start=0" for n in ("l1", "dssim", "perceptual")),
    *(f"loss.terms.{n}.start=0" for n in ("perceptual", "consistency", "sharp", "open")),
    "loss.terms.adversarial.weight=0.001", "loss.terms.adversarial.start=0",
)  # fmt: skip


def test_every_group_learns_and_every_term_counts(make, poses, latents):  # noqa: F811
    method = make("vasa3d_full", True, *STARTED)
    assert set(method.group_names) == {*GROUPS, *method.parameter_groups(), "own"}
    before = {name: [p.detach().clone() for p in group] for name, group in method.parameter_groups().items()}
    own = method.gaussians["own"].detach().clone()
    told = steps_of(method, poses, 2, latent=latents)
    terms = {f"loss/{name}" for name, row in method.config.loss.terms.items() if row.weight}
    assert terms - told <= {"loss/position"}  # of triangles alone
    for name in ("pose", "shoulders", "mapper", "shape", "residual", "critic"):
        after = method.parameter_groups()[name]
        assert any(not torch.equal(a, b) for a, b in zip(before[name], after, strict=True)), name
    assert not torch.equal(own, method.gaussians["own"])


@pytest.mark.parametrize("experiment", ["vasa3d_base", "vasa3d_mlp", "vasa3d_scratch"])
def test_rows_of_the_ablation_take_a_step(make, poses, latents, experiment):  # noqa: F811
    method = make(experiment)
    assert bool(method.residuals) == (experiment != "vasa3d_base")
    assert "loss/l1" in steps_of(method, poses, 1, latent=latents)


def test_the_base_is_drawn_where_it_is_compared_alone(make, poses, latents):  # noqa: F811
    method = make()
    batch = batch_of(poses, [0])
    batch = replace(batch, signal=replace(batch.signal, latent=latents[[0]]))
    for step, wanted in ((0, False), (100, True), (101, False)):  # the residual begins with the 50th of 1,000
        method.step = step
        assert ("base" in method.shots(batch)) == ("base" in method.deform(batch.signal)) == wanted


def test_what_is_not_to_be_had_is_said(make):
    config = compose(["experiment=vasa3d_full", "loss.terms.sds.weight=1"])
    with pytest.raises(UserError, match=r"loss.terms.sds.weight: found 1.0.*Stable Diffusion 2.1"):
        method_class(config.method.name).check(config)


def test_latents_of_another_source_have_numbers_of_their_own(body, poses):  # noqa: F811
    config = compose(["experiment=vasa3d_full", "data.size=64", "method.options.perceptual=edges"])
    latents = torch.randn(len(poses), 70, generator=torch.Generator().manual_seed(2))

    def look(frames):
        batch = batch_of(poses, frames)
        return replace(batch, signal=replace(batch.signal, latent=latents[frames]))

    method = method_class(config.method.name)(MethodContext(config, body, poses, TRAIN, 44, look, latents))
    assert method.dyn == 63
    told = replace(signal(poses, TRAIN[0]), latent=latents[[TRAIN[0]]])
    moved = replace(told, latent=latents[[TRAIN[1]]])
    assert not torch.allclose(method.drive(told).means, method.drive(moved).means)
    unread = replace(told, latent=None)  # as a performance has it: of a pose alone
    assert method.latent_of(unread).shape == (1, 70)
    torch.testing.assert_close(method.latent_of(unread), latents[[TRAIN[0]]], atol=0.3, rtol=0)
