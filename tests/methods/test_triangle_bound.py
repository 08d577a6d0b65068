"""The rigged head and the free deformations it is compared with."""

import copy
from dataclasses import replace
from functools import cache

import pytest
import torch

from talkingavatar.body.action_units import NAMES
from talkingavatar.body.models import load_body
from talkingavatar.config.compose import compose
from talkingavatar.config.rows import GROUPS
from talkingavatar.errors import UserError
from talkingavatar.methods import method_class
from talkingavatar.methods.context import MethodContext
from talkingavatar.networks.motion_field import MouthField
from talkingavatar.splatting import rasterise
from talkingavatar.types import Batch, Cameras, DrivingSignal, Gaussians

FRAMES, TRAIN = 6, [0, 2, 4]
FREE = ["gaussiantalker_style", "talkinggaussian_style"]


@pytest.fixture(scope="module")
def body():
    return load_body("open_flame")


@pytest.fixture(scope="module")
def poses(body):
    generator = torch.Generator().manual_seed(0)
    rest = body.zero_pose(FRAMES)
    return replace(
        rest,
        expression=0.2 * torch.randn(rest.expression.shape, generator=generator),
        full_pose=0.1 * torch.randn(rest.full_pose.shape, generator=generator),
        transl=0.02 * torch.randn(rest.transl.shape, generator=generator),
    )


def batch_of(poses, frames):
    view = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    view[1, 3], view[2, 3] = 0.85, 0.6
    K = torch.tensor([[60.0, 0, 32], [0, 60, 32], [0, 0, 1]])
    count = len(frames)
    cameras = Cameras(view.expand(count, 4, 4), K.expand(count, 3, 3), 64, 64)
    image = torch.linspace(0, 1, 64).view(1, 1, 64, 1).expand(count, 64, 64, 3)
    signal = DrivingSignal(torch.tensor(frames), poses[frames], torch.zeros(count, 8, 16, 44))
    return Batch(signal, cameras, image, torch.ones(count, 64, 64, 1), torch.ones(3))


@pytest.fixture(scope="module")
def make(body, poses):
    """Copies of methods that are built once: looking at what the person wears is most of a small test's time."""

    @cache
    def build(experiment, *overrides):
        config = compose([f"experiment={experiment}", "budget.steps=1000", "data.size=64", *overrides])
        context = MethodContext(config, body, poses, TRAIN, 44, lambda frames: batch_of(poses, frames))
        return method_class(config.method.name)(context)

    return lambda *chosen: copy.deepcopy(build(*chosen))


def signal(poses, frame, audio=0.0):
    return DrivingSignal(torch.tensor([-1]), poses[[frame]], torch.full((1, 8, 16, 44), audio))


def test_gaussians_start_at_the_centroids_flat_on_their_triangles(make, poses):
    from talkingavatar.geometry.rotations import quat_to_matrix

    method = make("gaussianheadtalk_triangle")
    gaussians = method.drive(signal(poses, 1))
    corners = method.figure(poses[[1]])[method.figure.faces]
    torch.testing.assert_close(gaussians.means, corners.mean(1))
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    large = normal.norm(dim=-1) > 1e-9
    normal = torch.nn.functional.normalize(normal, dim=-1)
    third = quat_to_matrix(gaussians.quats)[..., 2]
    assert (third * normal).sum(-1)[large].min() > 0.999


@pytest.mark.parametrize("experiment", ["gaussianheadtalk_full", "gaussianheadtalk_triangle"])
def test_they_ride_on_the_head_as_if_glued(make, poses, body, experiment):
    """Turning the root turns every Gaussian of the skull about it; size and colour stay."""
    method = make(experiment)
    with torch.no_grad():
        method.gaussians["means"].normal_(std=0.5)
    turn = torch.zeros_like(poses.full_pose[:1])
    turn[0, 0, 1] = 0.5
    rest = body.zero_pose()
    calm, bent = (
        method.drive(DrivingSignal(torch.tensor([-1]), pose)) for pose in (rest, replace(rest, full_pose=turn))
    )
    from talkingavatar.geometry.rotations import axis_angle_to_matrix

    rigid = body.weights[body.faces].amin(1)[:, :2].sum(-1) > 0.999  # on neck and head alone, which turn together here
    on_skull = torch.cat([rigid, torch.zeros(len(method.figure.faces) - len(rigid), dtype=torch.bool)])
    root = body.rest_joints(rest.betas)[0, 0]
    expected = (calm.means - root) @ axis_angle_to_matrix(turn[0, 0]).T + root
    torch.testing.assert_close(bent.means[on_skull], expected[on_skull], atol=1e-5, rtol=0)
    torch.testing.assert_close(bent.scales[on_skull], calm.scales[on_skull], atol=1e-6, rtol=1e-4)


def test_with_the_skin_they_stay_on_a_face_of_any_expression(make, poses, body):
    """In the middle of their triangles, each turned with its own."""
    from talkingavatar.geometry.rotations import quat_to_matrix

    method = make("gaussianheadtalk_full")
    wide = replace(poses[[1]], full_pose=poses[[1]].full_pose.clone(), expression=2 * poses[[1]].expression)
    wide.full_pose[0, body.joint_names.index("jaw"), 0] = 0.4
    gaussians = method.drive(DrivingSignal(torch.tensor([-1]), wide))
    corners = method.figure(wide)[method.figure.faces]
    torch.testing.assert_close(gaussians.means, corners.mean(1), atol=2e-3, rtol=0)
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    alike = (quat_to_matrix(gaussians.quats)[..., 2] * torch.nn.functional.normalize(normal, dim=-1)).sum(-1)
    assert alike.median() > 0.99


def test_one_that_has_left_its_triangle_gets_another_and_keeps_its_place(make, poses, body):
    method = make("gaussianheadtalk_full")
    wanderer = int((method.figure.faces == body.regions["lip_outer_upper"][10]).any(1).nonzero()[0])
    with torch.no_grad():
        method.gaussians["means"][wanderer] = torch.tensor([0.0, 0.0, 6.0])
        before, stood = method.drive(signal(poses, 1)), method.footing()
        method.walk(method.surface)
    after, stands = method.drive(signal(poses, 1)), method.footing()
    resting = method.resting().means.detach()
    heights = [method.surface.height(resting, footing).norm(dim=-1)[wanderer] for footing in (stood, stands)]
    assert int(method.carried_face[wanderer]) != wanderer == int(method.carried_binding[wanderer])
    assert heights[1] < 0.7 * heights[0] and int(method.carried_parent[wanderer]) in stands.corners[wanderer].tolist()
    others = method.carried_face == method.carried_binding
    assert others.float().mean() > 0.95
    torch.testing.assert_close(after.means[others], before.means[others])


def test_what_stands_off_the_skin_leans_or_is_thick_costs(make):
    method = make("gaussianheadtalk_full")
    calm = {
        name: float(v.detach().mean())
        for name, v in method.held(method.surface, method.resting(), method.footing()).items()
    }
    chest = int(method.figure.faces.amax(1).argmax())
    with torch.no_grad():
        method.gaussians["means"][chest, 1] = 3.0  # triangles, along the normal
        method.gaussians["scales"][chest, 2] = 0.0  # as thick as the triangle is wide
        method.gaussians["quats"][chest] = torch.tensor([1.0, 0, 0, 0])  # its third axis lies in the triangle
    held = method.held(method.surface, method.resting(), method.footing())
    assert held.keys() == calm.keys() == {"vertex", "height", "lying", "jut", "scale"}
    for name, values in held.items():
        assert values[chest] > 0.1 and float(values.detach().mean()) > calm[name], name


def test_what_no_frame_shows_covers_its_place_in_metres(make, body, monkeypatch):
    monkeypatch.setattr("talkingavatar.methods.skin_bound.FINEST", 0.0)  # pixels of so small a film are wider than that
    method = make("gaussianheadtalk_full")
    with torch.no_grad():
        method.gaussians["scales"] -= 3.0
    method._fill(method.surface)
    spacing = method.footing().of(method.surface.spacing[:, None])[:, 0]
    widths = method.resting().scales[:, 0].detach() / spacing
    back = (body.v_template[body.faces, 2].amax(1) < 0.0).nonzero()[:, 0]
    assert len(back) > 100 and (widths[back] / method.cover - 1).abs().median() < 1e-3
    nose = (body.v_template[body.faces, 2].amin(1) > 0.15).nonzero()[:, 0]
    assert widths[nose].median() < 0.5 * method.cover


def test_whoever_drives_it_does_not_change_what_the_person_is_like(make, poses):
    other = replace(poses, betas=poses.betas + 1.0)
    for experiment in ("gaussianheadtalk_full", "gaussianheadtalk_triangle", *FREE):
        method = make(experiment)
        assert torch.equal(method.drive(signal(poses, 1)).means, method.drive(signal(other, 1)).means)


def test_sound_does_not_move_the_rigged_head(make, poses):
    method = make("gaussianheadtalk_full")
    method.step = 1000
    assert torch.equal(method.drive(signal(poses, 1)).means, method.drive(signal(poses, 1, 1.0)).means)


def test_sound_moves_the_free_head_but_not_its_shoulders(make, poses):
    method = make("gaussiantalker_style")
    method.step = 1000
    quiet = method.drive(signal(poses, 1))
    assert torch.equal(quiet.means, method.drive(signal(poses, 1, 1.0)).means)  # it starts as the identity
    torch.manual_seed(0)
    torch.nn.init.normal_(method.deformation.decoder[-1].weight, std=0.1)
    torch.nn.init.normal_(method.deformation.planes.table)
    quiet, loud = method.drive(signal(poses, 1)), method.drive(signal(poses, 1, 1.0))
    moved = (quiet.means - loud.means).norm(dim=-1)
    assert moved[method.on_head].mean() > 1e-6 and moved[~method.on_head].max() == 0
    assert not torch.equal(quiet.sh, loud.sh) and not torch.equal(quiet.opacities, loud.opacities)


@pytest.fixture(scope="module")
def branched(make):
    """The head of two branches in its second stage, its fields at random."""
    method = make("talkinggaussian_style")
    method.step = 600
    torch.manual_seed(0)
    for parameter in method.deformation.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return method


def test_in_two_branches_sound_moves_only(branched, poses):
    """No opacity and no colour changes; inside the mouth nothing turns or stretches, the shoulders stay."""
    quiet, loud = branched.drive(signal(poses, 1)), branched.drive(signal(poses, 1, 1.0))
    assert torch.equal(quiet.sh, loud.sh) and torch.equal(quiet.opacities, loud.opacities)
    changed = {n: (getattr(quiet, n) - getattr(loud, n)).norm(dim=-1) > 1e-6 for n in ("means", "quats", "scales")}
    face, mouth = branched.on_face, branched.in_mouth
    assert 100 < mouth.sum() < face.sum() and not (face & mouth).any()
    assert changed["means"][face].float().mean() > 0.9 and changed["means"][mouth].float().mean() > 0.9
    assert changed["quats"][face].any() and changed["scales"][face].any()
    assert not any(here[~face & ~mouth].any() for here in changed.values())


def test_inside_of_a_mouth_moves_up_and_down_first():
    field = MouthField(44, -torch.ones(3), torch.ones(3))
    torch.nn.init.ones_(field.decoder[-1].weight)
    moves = field(torch.rand(5, 3), torch.rand(8, 16, 44))
    assert moves[:, 1].abs().min() > 0
    torch.testing.assert_close(moves, moves[:, 1:2] * torch.tensor([0.2, 1.0, 0.2]))


def test_the_face_is_laid_over_what_is_inside_the_mouth(branched, poses):
    """Which looks the same where it is seen."""
    gaussians, camera = branched.drive(signal(poses, 1)), batch_of(poses, [1]).cameras
    inside = branched.in_mouth
    alone = replace(gaussians, opacities=gaussians.opacities * inside)
    plain = rasterise(alone, camera, branched.background, mode="3dgs").rgb
    drawn = branched.render(alone, camera).rgb
    assert (drawn < 0.9).any()
    torch.testing.assert_close(drawn, plain, atol=2e-3, rtol=0)
    lip = branched.context.body.regions["lip_outer_lower"][10]
    lip = int((branched.figure.faces == lip).any(1).nonzero()[0])
    tooth = int(inside.nonzero()[0])
    means, colours = gaussians.means.detach().clone(), torch.zeros_like(gaussians.sh)
    means[tooth] = means[lip] + torch.tensor([0.0, 0.0, 0.01])  # before it
    colours[lip], colours[tooth] = 1.0, -1.0
    pair = Gaussians(means, gaussians.quats, torch.full_like(gaussians.scales, 0.02), gaussians.opacities * 0, colours)
    pair.opacities[[lip, tooth]] = 0.99
    red = branched.render(pair, camera).rgb[0, ..., 0]
    assert red.max() > 0.7 and red.min() > 0.4


def test_inside_the_mouth_no_action_unit_is_heard_and_of_the_face_the_upper_ones(branched, poses):
    def driven(unit):
        actions = torch.zeros(1, 17)
        actions[0, NAMES.index(unit)] = 5.0
        return branched.drive(replace(signal(poses, 1), actions=actions)).means

    still, blinking, smiling = driven("AU26"), driven("AU45"), driven("AU12")
    moved = (still - blinking).norm(dim=-1) > 1e-6
    assert moved[branched.on_face].float().mean() > 0.3 and not moved[~branched.on_face].any()
    assert torch.equal(still, smiling)


def test_the_first_stage_is_deaf_and_in_the_last_one_fields_rest(branched, poses, monkeypatch):
    monkeypatch.setattr(branched, "step", 0)
    assert torch.equal(branched.drive(signal(poses, 1)).means, branched.drive(signal(poses, 1, 1.0)).means)
    learning = {
        step: {name for name, schedule in branched.schedules.items() if schedule.rate(step) > 0}
        for step in (0, 600, 900)
    }
    assert learning[0] == {"means", "quats", "scales", "opacities", "sh"}
    assert learning[600] == {*learning[0], "pose", "shoulders", "deformation", "planes"}
    assert learning[900] == {"opacities", "sh"}


@pytest.mark.parametrize("experiment", FREE)
def test_what_sound_deforms_is_not_baked(make, poses, experiment):
    with pytest.raises(UserError, match=r"an avatar of (audio|branch)_deformed; expected one of a family"):
        make(experiment).bake(signal(poses, 1))


@pytest.mark.parametrize("experiment", FREE)
def test_jaw_and_lips_as_tracked_do_not_move_the_free_head(make, poses, body, experiment):
    method = make(experiment)
    method.step = 600
    other = replace(poses[[1]], full_pose=poses[[1]].full_pose.clone())
    other.full_pose[0, body.joint_names.index("jaw"), 0] += 0.3
    means = [method.drive(DrivingSignal(torch.tensor([-1]), pose)).means for pose in (poses[[1]], other)]
    assert torch.equal(*means)


@pytest.mark.parametrize("experiment", ["gaussianheadtalk_full", "gaussianheadtalk_triangle", *FREE])
def test_every_group_learns_and_no_triangle_loses_its_last_gaussian(make, poses, experiment):
    method = make(
        experiment, "density.start=0", "density.min_every=5", "density.every=1", "density.grow_gradient=1e-7",
        "density.prune_opacity=0.6", "density.max_gaussians=14000", "budget.warmup=1", "method.paper_steps=1000",
        *(f"method.schedule.{n}.start=0" for n in ("pose", "shoulders")),
    )  # fmt: skip
    optimiser = method.configure_optimizers()
    method.optimizers = lambda use_pl_optimizer=True: optimiser
    triangles = len(method.figure.faces)
    before = {name: [p.detach().clone() for p in group] for name, group in method.parameter_groups().items()}
    trainer = type("Trainer", (), {"global_step": 0})()
    for step in range(12):
        trainer.global_step = step
        method._trainer = trainer
        type(method).global_step = property(lambda self: self._trainer.global_step)
        batch = batch_of(poses, [TRAIN[step % 3]])
        method.on_train_batch_start(batch, step)

        def closure(batch=batch, step=step):
            loss = method.training_step(batch, step)
            optimiser.zero_grad()
            loss.backward()
            return loss

        method.optimizer_step(0, step, optimiser, closure)
    assert len(method.carried_binding) == len(method.gaussians["means"]) != triangles
    assert set(method.carried_binding.tolist()) == set(range(triangles))
    for name in ("pose", "shoulders"):
        after = method.parameter_groups()[name]
        assert any(not torch.equal(a, b) for a, b in zip(before[name], after, strict=True)), name


def test_a_checkpoint_is_taken_if_its_indices_are_in_range(make):
    method, fresh = make("gaussianheadtalk_triangle"), make("gaussianheadtalk_triangle")
    pick = torch.arange(len(method.carried_binding) + 50) % len(method.carried_binding)
    for name in list(method.gaussians):
        method.gaussians[name] = torch.nn.Parameter(method.gaussians[name][pick])
    method.carry({name: values[pick] for name, values in method.carried.items()})
    checkpoint = {"state_dict": method.state_dict(), "global_step": 5}
    method.on_save_checkpoint(checkpoint)
    fresh.on_load_checkpoint(checkpoint)
    fresh.load_state_dict(checkpoint["state_dict"])
    assert torch.equal(fresh.carried_binding, pick) and fresh.step == 5
    for name, there in (("carried_parent", len(method.figure.weights)), ("carried_binding", len(method.figure.faces))):
        for bad in (-1, there):
            changed = {name: checkpoint["state_dict"][name].index_fill(0, torch.tensor(7), bad)}
            with pytest.raises(ValueError, match=f"{name} of .* of {there} that there are"):
                fresh.on_load_checkpoint(checkpoint | {"state_dict": checkpoint["state_dict"] | changed})


def test_options_and_groups_are_checked():
    config = compose(["experiment=gaussianheadtalk_full", "+method.options.skale=1"])
    with pytest.raises(UserError, match="did you mean scale"):
        method_class(config.method.name).check(config)
    config = compose(["experiment=gaussianheadtalk_full"])
    config.method.schedule["leb"] = config.method.schedule["means"]
    with pytest.raises(UserError, match="an unknown group"):
        method_class(config.method.name).check(config)


def test_a_loss_that_the_family_has_not_is_refused():
    """It would never count, and nobody would know."""
    config = compose(["experiment=gaussianheadtalk_full", "loss=thgs"])
    with pytest.raises(UserError, match=r"loss.terms.leb: found an unknown term"):
        method_class(config.method.name).check(config)
    config = compose(["experiment=thgs_full"])
    config.loss.terms["nromal"] = config.loss.terms.pop("normal")
    with pytest.raises(UserError, match="did you mean normal"):
        method_class(config.method.name).check(config)


@pytest.mark.parametrize("experiment", ["gaussianheadtalk_full", *FREE])
def test_the_declared_groups_are_those_there_are(make, experiment):
    method = make(experiment)
    assert set(method.group_names) == {*GROUPS, *method.parameter_groups()}
