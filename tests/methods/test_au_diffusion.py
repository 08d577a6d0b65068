"""EmoDiffTalk's head."""

import copy
from dataclasses import replace
from functools import cache

import pytest
import torch

from talkingavatar.body.action_units import NamedFace
from talkingavatar.config.compose import compose
from talkingavatar.config.rows import GROUPS
from talkingavatar.errors import UserError
from talkingavatar.methods import method_class
from talkingavatar.methods.context import MethodContext
from talkingavatar.networks.unit_residual import MOST
from tests.methods.test_motion_latent import steps_of
from tests.methods.test_triangle_bound import TRAIN, batch_of, body, poses, signal  # noqa: F401

ATTRIBUTES = ("means", "quats", "scales", "opacities", "sh")


@pytest.fixture(scope="module")
def units(poses):  # noqa: F811
    return 5 * torch.rand(len(poses), 17, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def make(body, poses):  # noqa: F811
    @cache
    def build(*overrides):
        config = compose(
            ["experiment=emodifftalk_full", "budget.steps=1000", "data.size=64", "method.options.perceptual=edges",
             *overrides]
        )  # fmt: skip
        context = MethodContext(config, body, poses, TRAIN, 44, lambda frames: batch_of(poses, frames))
        return method_class(config.method.name)(context)

    return lambda *chosen: copy.deepcopy(build(*chosen))


def stirred(method):
    """With lines that do something."""
    torch.manual_seed(0)
    with torch.no_grad():
        method.gaussians["lines"].normal_()
    for layers in method.residual.children():
        torch.nn.init.normal_(layers[-1].weight, std=0.1)
    return method


@pytest.mark.parametrize("residual", ["basis", "mlp"])
def test_units_change_opacity_and_rotation_of_the_face_alone_once_lines_have_learned(make, poses, units, residual):  # noqa: F811
    method = make(f"method.options.residual={residual}")
    told = replace(signal(poses, 1), actions=units[[1]])
    calm = method.drive(replace(told, actions=torch.zeros(1, 17)))
    plain = make("method.options.residual=none").drive(told)
    start = method.drive(told)
    assert all(torch.equal(getattr(start, name), getattr(plain, name)) for name in ATTRIBUTES)
    method = stirred(method)
    shown = method.drive(told)
    assert all(torch.equal(getattr(shown, name), getattr(calm, name)) for name in ("means", "sh"))
    face = method.moving_face[method.carried_face]
    for name in ("opacities", "quats"):
        moved = (getattr(shown, name) - getattr(calm, name)).abs().flatten(1 if name == "quats" else 0)
        assert moved[face].mean() > 1e-3 and moved[~face].max() == 0
    logits = torch.logit(shown.opacities) - torch.logit(calm.opacities)
    assert logits.abs().max() <= MOST["opacities"] + 1e-3


def test_a_signal_without_units_is_one_with_those_of_its_pose(make, poses, body, units):  # noqa: F811
    method = stirred(make())
    unread = signal(poses, 1)
    read = replace(unread, actions=torch.from_numpy(NamedFace(body).units(unread.pose)).float())
    torch.testing.assert_close(method.drive(unread).opacities, method.drive(read).opacities, atol=1e-5, rtol=0)
    other = replace(unread, actions=units[[1]])
    assert not torch.allclose(method.drive(other).opacities, method.drive(read).opacities)
    elsewhere = method.reposed(other, unread.pose)  # recorded units tell of the recorded pose
    torch.testing.assert_close(method.drive(elsewhere).opacities, method.drive(read).opacities, atol=1e-5, rtol=0)


def test_who_drives_it_takes_no_line_anew_unless_one_has_changed(make, poses, units):  # noqa: F811
    method = stirred(make()).requires_grad_(False)
    told = replace(signal(poses, 1), actions=units[[1]])
    with torch.no_grad():
        first, again = method.drive(told), method.drive(told)
        method.gaussians["lines"] *= 0.5
        changed = method.drive(told)
    assert torch.equal(first.opacities, again.opacities) and not torch.equal(first.opacities, changed.opacities)


@pytest.mark.parametrize(
    ("residual", "colour"), [("basis", "gaussians"), ("mlp", "gaussians"), ("none", "gaussians"), ("basis", "triplane")]
)
def test_every_group_learns_and_every_term_counts(make, poses, units, residual, colour):  # noqa: F811
    starts = [f"method.schedule.{n}.start=0" for n in ("pose", "expression", "shoulders", "lines", "residual")]
    starts += [f"loss.terms.{n}.start=0" for n in ("perceptual", "open")]
    options = [f"method.options.residual={residual}", f"method.options.colour={colour}"]
    method = make(*options, "method.paper_steps=1000", *starts)
    assert set(method.group_names) == {*GROUPS, *method.parameter_groups(), "lines"}
    groups = {n: g for n, g in method.parameter_groups().items() if g} | {n: [v] for n, v in method.gaussians.items()}
    before = {name: [p.detach().clone() for p in group] for name, group in groups.items()}
    told = steps_of(method, poses, 2, actions=units)
    terms = {f"loss/{name}" for name, row in method.config.loss.terms.items() if row.weight}
    lacking = {"loss/residual", "loss/unasked"} if residual == "none" else set()
    assert terms - told == {"loss/position"} | lacking  # position: of triangles alone
    after = {n: g for n, g in method.parameter_groups().items() if g} | {n: [v] for n, v in method.gaussians.items()}
    for name, group in before.items():
        learned = any(not torch.equal(a, b) for a, b in zip(group, after[name], strict=True))
        assert learned == (name != "sh" or colour == "gaussians"), name


def test_colours_of_places_become_the_gaussians_own(make, poses):  # noqa: F811
    method = make("method.options.colour=triplane").requires_grad_(False)
    plain, told = make().drive(signal(poses, 1)), method.drive(signal(poses, 1))
    assert torch.equal(plain.sh, told.sh)
    torch.nn.init.normal_(method.colours.network[-1].weight)
    method.colours.planes.table.normal_()
    shown = method.drive(signal(poses, 1))
    near = (shown.sh - plain.sh)[:, 0]
    assert float(near.std(0).min()) > 1e-2
    kept = method.gaussians["sh"].clone()
    method.settle_colours()
    assert not torch.equal(kept, method.gaussians["sh"]) and not method.colours(torch.rand(5, 3)).any()
    torch.testing.assert_close(method.drive(signal(poses, 1)).sh, shown.sh)


def test_lines_follow_their_gaussians_through_clone_split_and_prune(make):
    method = make("density.start=0", "density.every=1", "density.min_every=1", "density.stop=1000")
    method.configure_optimizers()
    count = len(method.gaussians["means"])
    with torch.no_grad():  # each knows who it is
        method.gaussians["lines"][:] = torch.arange(count)[:, None, None]
        method.gaussians["sh"][:, 0, 0] = torch.arange(count)
        method.gaussians["opacities"][5::7] = -9.0
        method.gaussians["scales"][:100] += 4.0  # to be split, others cloned
    control = method.density
    seen = torch.zeros(2, 1, count)
    seen[1], seen[0, 0, :200] = 1.0, 1.0
    change = control.after_step(1, seen)
    method.carry(control.carried)
    lines, sh = method.gaussians["lines"], method.gaussians["sh"]
    assert change.grown == 200 and change.pruned > 0
    assert len(lines) == len(sh) == len(method.carried_face) == count + change.grown - change.pruned
    assert torch.equal(lines[:, 0, 0], sh[:, 0, 0]) and torch.equal(lines[:, -1, -1], sh[:, 0, 0])


def test_nothing_tells_units(body, poses):  # noqa: F811
    """A body without names needs a capture that knows them; then poses tell what was seen beside them."""
    unnamed = copy.deepcopy(body)
    unnamed.expression_names = [f"expression_{i}" for i in range(len(body.expression_names))]
    config = compose(["experiment=emodifftalk_full", "data.size=64", "method.options.perceptual=edges"])
    context = MethodContext(config, unnamed, poses, TRAIN, 44, lambda frames: batch_of(poses, frames))
    with pytest.raises(UserError, match="data: found a capture without action units, and open_flame"):
        method_class(config.method.name)(context)
    units = torch.rand(len(poses), 17)
    method = method_class(config.method.name)(replace(context, actions=units))
    torch.testing.assert_close(method.units_of(signal(poses, TRAIN[0])), units[TRAIN[:1]], atol=0.2, rtol=0)
