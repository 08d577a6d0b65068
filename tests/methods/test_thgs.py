import copy
from dataclasses import replace
from functools import cache

import pytest
import torch

from talkingavatar.body.mesh_geometry import vertex_normals
from talkingavatar.body.models import load_body
from talkingavatar.config.compose import compose
from talkingavatar.config.family_options import Thgs
from talkingavatar.config.options import read_options
from talkingavatar.config.rows import GROUPS
from talkingavatar.config.schema import DensityConfig
from talkingavatar.errors import UserError
from talkingavatar.geometry.triangles import triangle_frames
from talkingavatar.methods import method_class
from talkingavatar.methods.base import SHOWN
from talkingavatar.methods.context import MethodContext
from talkingavatar.methods.thgs import THGS
from talkingavatar.types import Batch, BodyPose, Cameras, DrivingSignal

FRAMES, TRAIN = 6, [0, 2, 4]


@pytest.fixture(scope="module")
def body():
    return load_body("open")


@pytest.fixture(scope="module")
def poses(body):
    generator = torch.Generator().manual_seed(0)

    def random(*shape, scale):
        return scale * torch.randn(*shape, generator=generator)

    return BodyPose(
        betas=random(1, 10, scale=0.5).expand(FRAMES, -1),
        expression=random(FRAMES, 52, scale=0.2),
        full_pose=random(FRAMES, 55, 3, scale=0.15),
        transl=random(FRAMES, 3, scale=0.1),
    )


def look_at(poses):
    view = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    view[2, 3] = 3.0
    K = torch.tensor([[60.0, 0, 32], [0, 60, 32], [0, 0, 1]])

    def look(frames):
        count = len(frames)
        cameras = Cameras(view.expand(count, 4, 4), K.expand(count, 3, 3), 64, 64)
        image = torch.linspace(0, 1, 64).view(1, 1, 64, 1).expand(count, 64, 64, 3)
        signal = DrivingSignal(torch.tensor(frames), poses[frames], torch.zeros(count, 8, 16, 44))
        return Batch(signal, cameras, image, torch.ones(count, 64, 64, 1), torch.ones(3))

    return look


@pytest.fixture(scope="module")
def thgs(body, poses):
    """Copies of methods that are built once: filling the grid is most of a small test's time."""

    @cache
    def build(*overrides):
        config = compose(["budget.steps=1000", "data.size=64", *overrides])
        return THGS(MethodContext(config, body, poses, TRAIN, 44, look_at(poses)))

    return lambda *overrides: copy.deepcopy(build(*overrides))


def signal(poses, frame, audio=None):
    windows = torch.zeros(1, 8, 16, 44) if audio is None else audio
    return DrivingSignal(torch.tensor([frame]), poses[[frame]], windows)


def test_untrained_gaussians_stand_on_the_posed_vertices(thgs, body, poses):
    """Shape, skinning and translation are the body model's own; an expression moves the lookup with it."""
    method = thgs()
    for frame in range(FRAMES):
        calm = replace(poses, expression=torch.zeros_like(poses.expression))
        vertices, _ = body(calm[[frame]])
        torch.testing.assert_close(method.drive(signal(calm, frame)).means, vertices[0], atol=2e-5, rtol=0)
        vertices, _ = body(poses[[frame]])
        error = (method.drive(signal(poses, frame)).means - vertices[0]).norm(dim=-1)
        assert error.mean() < 5e-4 and error.max() < 1e-2


def test_with_the_skin_they_stand_on_a_face_of_any_expression(thgs, body, poses):
    """A height of their own they keep, whatever it does."""
    method, face = thgs(), body.face
    vertices, _ = body(poses[[1]])
    aside = method.gaussians["means"].detach().clone()
    outward = vertex_normals(aside, body.faces)
    with torch.no_grad():
        method.gaussians["means"] += 2e-3 * outward
    moved, normals = method.drive(signal(poses, 1)).means, vertex_normals(vertices[0], body.faces)
    height = ((moved - vertices[0]) * normals).sum(-1)[face]
    assert float(height.median()) == pytest.approx(2e-3, abs=1e-4)
    flat = thgs("method.options.deform=centre", "method.options.dressed=false")
    assert flat.surface is None and set(flat.carried) == {"parent"}


def test_gaussians_that_have_left_their_triangle_get_another(thgs, body):
    method = thgs()
    wanderer = int(body.regions["lip_outer_upper"][10])
    place = body.v_template[wanderer] + torch.tensor([0.0, 0.02, 0.0])
    with torch.no_grad():
        method.gaussians["means"][wanderer] = place
        method.walk(method.surface)
    near = int((body.v_template[method.carried_parent[wanderer]] - place).norm() * 1e3)
    assert int(method.carried_parent[wanderer]) != wanderer and near < 8  # mm
    others = torch.arange(len(body.v_template)) != wanderer
    assert (method.carried_parent == torch.arange(len(others)))[others].float().mean() > 0.9


def test_without_the_anchor_the_grid_alone_moves_them(thgs, body, poses):
    """The paper's plain lookup is off by millimetres round the lips, which is why the anchor is there."""
    open_mouth = torch.zeros(1, 55, 3)
    open_mouth[0, body.joint_names.index("jaw"), 0] = 0.25
    pose = replace(poses[[1]], full_pose=open_mouth, expression=torch.zeros(1, 52))
    vertices, _ = body(pose)
    driven = DrivingSignal(torch.tensor([-1]), pose)
    lip = body.regions["lip_inner_upper"]
    errors = [
        (thgs(f"method.options.anchor_skinning={on}").drive(driven).means - vertices[0])[lip].norm(dim=-1).max()
        for on in ("true", "false")
    ]
    assert errors[0] < 1e-4 < 3e-3 < errors[1]


def test_surfels_start_in_the_surface(thgs, body):
    from talkingavatar.geometry.rotations import quat_to_matrix

    method = thgs()
    rotation = quat_to_matrix(method.gaussians["quats"])
    normals = vertex_normals(body.v_template, body.faces)
    torch.testing.assert_close(rotation[..., 2], normals, atol=1e-4, rtol=0)
    scales = method.gaussians["scales"][:, :2].exp()
    assert scales.min() >= 0.99e-4 and scales.max() <= 2.01e-2


def test_a_hole_in_the_back_is_planted_in_the_colour_of_what_is_round_it(thgs, body):
    """And once: nothing gets through what stands there then. A hole in the chest is the camera's own affair."""
    method, rest = thgs("density.start=0", "density.stop=1000"), body.v_template
    method.configure_optimizers()
    middle = (rest[:, 0].abs() < 0.1) & (rest[:, 1] > 0.35) & (rest[:, 1] < 0.55)
    hole = middle & (vertex_normals(rest, body.faces)[:, 2].abs() > 0.9)
    red, count = torch.tensor([1.0, 0.0, 0.0]), len(rest)
    with torch.no_grad():
        method.gaussians["scales"][:] = method.surface.spacing.log()[:, None]
        method.gaussians["opacities"][hole] = -9.0
        method.gaussians["sh"][~hole, 0] = red
    method._plant(method.surface, method.density)
    face, raw = method.carried_face[count:], method.gaussians
    places = rest[body.faces[face]].mean(1)
    torch.testing.assert_close(raw["means"][count:], places)
    assert len(face) > 40 and places[:, 2].max() < 0 and places[:, 0].min() < -0.05 and places[:, 0].max() > 0.05
    torch.testing.assert_close(raw["sh"][count:, 0], red.expand(len(face), 3))
    assert torch.equal(method.carried_parent[count:], body.faces[face, 0])
    assert all(torch.equal(values, method.density.carried[name]) for name, values in method.carried.items())
    assert len(method.drive(signal_of(method)).means) == count + len(face)
    method._plant(method.surface, method.density)
    assert len(method.carried_face) < count + 1.05 * len(face)


def test_below_the_jaw_nothing_is_planted(thgs, body):
    method, count = thgs("density.max_gaussians=40000"), len(body.v_template)
    method.configure_optimizers()
    with torch.no_grad():
        method.gaussians["opacities"][:] = -9.0
    method._plant(method.surface, method.density)
    planted = method.carried_face[count:]
    own = planted[method.parts()["face"][body.faces[planted]].all(1)]
    down = -triangle_frames(body.v_template[body.faces[own]]).rotation[:, 1, 1]
    assert len(own) > 100 and down.max() <= 0.5 and (down > 0).any()
    everywhere = len(method.carried_face)
    with torch.no_grad():
        method.gaussians["scales"][:] = -2.0
        method.gaussians["opacities"][:] = 9.0
    method._plant(method.surface, method.density)
    assert len(method.carried_face) == everywhere == len(method.gaussians["means"])


def signal_of(method):
    return DrivingSignal(torch.tensor([-1]), method.context.pose[[1]], torch.zeros(1, 8, 16, 44))


def test_what_is_wider_than_the_skin_is_fine_pulls_back(thgs):
    """Beyond one spacing of the vertices where a Gaussian stands, along any axis."""
    method = thgs()
    spacing = method.footing().of(method.surface.spacing[:, None])[:, 0]
    with torch.no_grad():
        method.gaussians["scales"][:] = (0.9 * spacing).log()[:, None]
        method.gaussians["scales"][7, 0] = (3 * spacing[7]).log()
    scale = method.held(method.surface, method.resting(), method.footing())["scale"]
    assert scale[7].item() == pytest.approx(2, rel=1e-3)
    assert scale[torch.arange(len(scale)) != 7].max() < 1e-5


def test_sound_moves_only_the_mouth(thgs, poses):
    method = thgs()
    torch.nn.init.normal_(method.saam.decoder[-1].weight)
    torch.nn.init.normal_(method.saam.planes.table)
    still = method.drive(signal(poses, 1, torch.ones(1, 8, 16, 44))).means
    method.step = method.schedules["saam"].start
    moved = (method.drive(signal(poses, 1, torch.ones(1, 8, 16, 44))).means - still).norm(dim=-1) > 1e-7
    mouth = method.in_mouth(method.gaussians["means"])
    assert 100 < mouth.sum() < len(mouth) / 2
    assert (moved == mouth).float().mean() > 0.999


def test_silence_and_speech_differ_once_saam_has_started(thgs, poses):
    method = thgs()
    torch.nn.init.normal_(method.saam.decoder[-1].weight)
    method.step = 999
    quiet, loud = (method.drive(signal(poses, 1, v * torch.ones(1, 8, 16, 44))).means for v in (0.0, 1.0))
    assert (quiet - loud).abs().max() > 0


def test_refinement_has_no_common_part_and_spares_held_out_frames(thgs, poses):
    method = thgs()
    with torch.no_grad():
        for table in method.refinement.parameters():
            table.normal_()
    refined = [method.refined_pose(signal(poses, f)) for f in TRAIN]
    mean = torch.cat([r.full_pose for r in refined]).mean(0)
    torch.testing.assert_close(mean, poses[TRAIN].full_pose.mean(0))
    assert (refined[0].full_pose - poses[[0]].full_pose).abs().max() > 0.1
    assert method.refined_pose(signal(poses, 1)) is not None
    assert torch.equal(method.refined_pose(signal(poses, 1)).full_pose, poses[[1]].full_pose)


@pytest.mark.parametrize(
    ("option", "gone"),
    [
        ("leb", {"leb"}),
        ("saam", {"saam", "saam_planes", "saam_attention"}),
        ("joint", {"skinning", "pose", "expression"}),
    ],
)
def test_what_is_switched_off_has_no_schedule(thgs, option, gone):
    full, without = thgs().schedules.keys(), thgs(f"method.options.{option}=false").schedules.keys()
    assert full - without == gone


def test_every_group_learns_from_a_picture(thgs, poses):
    """After all starts, one step's gradient reaches every parameter group."""
    method = thgs()
    method.step = 999
    torch.nn.init.normal_(method.saam.decoder[-1].weight, std=0.01)
    batch = look_at(poses)([2])
    batch = replace(batch, signal=replace(batch.signal, audio=torch.randn(1, 8, 16, 44)))
    rendering = method.render(method.drive(batch.signal), batch.cameras)
    sum(term.mean() for term in method.terms({SHOWN: rendering}, batch).values()).backward()
    groups = method.parameter_groups() | {name: [method.gaussians[name]] for name in method.gaussians}
    for name in method.schedules:
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in groups[name]), name


def test_the_declared_groups_are_those_there_are(thgs):
    method = thgs()
    assert set(method.group_names) == {*GROUPS, *method.parameter_groups()}


def test_a_checkpoint_of_another_count_loads(thgs):
    """A grown method saves; a fresh one takes its count, parents and step."""
    grown, fresh = thgs(), thgs()
    count = 14_000
    pick = torch.arange(count) % len(grown.carried_parent)
    for name in list(grown.gaussians):
        grown.gaussians[name] = torch.nn.Parameter(grown.gaussians[name][pick])
    grown.carry({name: values[pick] for name, values in grown.carried.items()})
    checkpoint = {"state_dict": grown.state_dict(), "global_step": 321}
    grown.on_save_checkpoint(checkpoint)
    fresh.on_load_checkpoint(checkpoint)
    fresh.load_state_dict(checkpoint["state_dict"])
    assert fresh.step == 321 and torch.equal(fresh.carried_parent, pick)
    assert torch.equal(fresh.carried_face, grown.carried_face) and len(fresh.carried_face) == count
    assert torch.equal(fresh.gaussians["means"], grown.gaussians["means"])


def test_a_checkpoint_of_what_cannot_be_is_refused(thgs):
    """Before compiled code reads where they point."""
    method = thgs()
    checkpoint = {"state_dict": method.state_dict(), "global_step": 1}
    method.on_save_checkpoint(checkpoint)

    def refused(match, **change):
        with pytest.raises(ValueError, match=match):
            method.on_load_checkpoint(checkpoint | {"state_dict": checkpoint["state_dict"] | change})

    for name, there in (("carried_parent", len(method.body.v_template)), ("carried_face", len(method.body.faces))):
        good = checkpoint["state_dict"][name]
        for bad in (-1, there, 10**9, -(10**15)):
            refused(f"{name} of .* of {there} that there are", **{name: good.index_fill(0, torch.tensor(7), bad)})
        refused(f"{name} of torch.float32", **{name: good.float()})
        refused("of another number", **{name: good[:, None]})
    vertices = checkpoint["state_dict"]["surface.vertices"]
    for bad in (vertices[:-1], torch.cat([vertices, vertices[:3]]), vertices[:, :2]):
        refused(r"surface\.vertices of ", **{"surface.vertices": bad})
    gone = [name for name in checkpoint["state_dict"] if name.startswith(("gaussians.", "carried_"))]
    refused("0 Gaussians of at most", **{name: checkpoint["state_dict"][name][:0] for name in gone})
    many = {name: checkpoint["state_dict"][name] for name in gone}
    refused("2770800 Gaussians of at most 200000", **{n: v.repeat(200, *[1] * (v.ndim - 1)) for n, v in many.items()})
    scales, quats = many["gaussians.scales"], many["gaussians.quats"]
    refused(r"as wide as e\^80", **{"gaussians.scales": scales.index_fill(0, torch.tensor(7), 80.0)})
    refused("quaternions of zero", **{"gaussians.quats": quats.index_fill(0, torch.tensor(7), 0.0)})
    other = {"parent": method.carried_parent, "face": method.carried_face.roll(1)}
    with pytest.raises(ValueError, match="another face than Gaussians"):
        method.on_load_checkpoint(checkpoint | {"density": other})
    method.on_load_checkpoint(checkpoint | {"density": other | {"face": method.carried_face}})


def test_a_checkpoint_of_another_body_is_refused(thgs):
    method = thgs()
    checkpoint = {"state_dict": method.state_dict(), "global_step": 1}
    method.on_save_checkpoint(checkpoint)
    checkpoint["body"]["checksum"] = "0" * 64
    with pytest.raises(UserError, match="which the checkpoint was made with"):
        method.on_load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"lebb": False}, "did you mean leb"),
        ({"leb": "yes"}, "a bool"),
        ({"sh_degree": 1.5}, "a int"),
        ({"leb_norm": "fros"}, "did you mean fro"),
    ],
)
def test_options_are_checked(given, expected):
    with pytest.raises(UserError, match=expected):
        read_options(Thgs(), given)


def test_unknown_method_is_refused():
    with pytest.raises(UserError, match="did you mean thgs"):
        method_class("thg")


def test_the_cap_is_what_a_cpu_can_draw_there_only(thgs):
    """Unless one is asked for; the meta device stands for a GPU."""
    method, asked = thgs(), DensityConfig(max_gaussians=50)
    assert (method._most(method.config.density), method._most(asked)) == (30_000, 50)
    method.gaussians["means"] = torch.nn.Parameter(method.gaussians["means"].to("meta"))
    assert (method._most(method.config.density), method._most(asked)) == (200_000, 50)
