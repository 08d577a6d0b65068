"""What a person wears, told from outlines, and the looks of what no frame shows."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.ndimage import binary_dilation
from torch.nn.functional import normalize

from talkingavatar.body.mesh_geometry import vertex_normals
from talkingavatar.body.models import load_body
from talkingavatar.config.compose import compose
from talkingavatar.data.visible_mesh import VisibleMesh
from talkingavatar.geometry.cameras import close_up, in_picture
from talkingavatar.geometry.spherical_harmonics import rgb_to_sh
from talkingavatar.methods.colours import (
    DEPTH,
    THROUGH,
    USUAL,
    completed,
    donated,
    first_look,
    looks_like,
    parts_of,
    seen_colours,
)
from talkingavatar.methods.context import MethodContext
from talkingavatar.methods.dressing import dress, dressed
from talkingavatar.methods.gaps import pixel_at
from talkingavatar.methods.skin_bound import EASE, LOOSE, SNUG
from talkingavatar.methods.thgs import THGS
from talkingavatar.methods.unseen import DIM, HIDDEN, LITTLE, contributions, driven_frames, fill_unseen
from talkingavatar.splatting.conventions import FILTER_2DGS
from talkingavatar.types import Batch, Cameras, DrivingSignal

SIZE, FOCAL, DISTANCE, FRAMES = 256, 330.0, 2.2, 6
THICK = 0.03  # metres of clothes


@pytest.fixture(scope="module")
def body():
    return load_body("open")


def covered(body):
    """Metres of clothes on everything but face and hands."""
    worn = torch.full((len(body.v_template),), THICK)
    for vertices in (body.face, body.regions["left_hand"], body.regions["right_hand"]):
        worn[vertices] = 0
    return worn


@pytest.fixture(scope="module")
def context(body):
    """A person in clothes, all red, who turns a little before the camera."""
    pose = body.zero_pose(FRAMES)
    turned = pose.full_pose.clone()
    turned[:, 0, 1] = torch.linspace(-0.3, 0.3, FRAMES)
    pose = replace(pose, full_pose=turned, transl=torch.tensor([[0.0, -0.2, 0.0]]).expand(FRAMES, 3))
    view = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    view[2, 3] = DISTANCE
    K = torch.tensor([[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1]])
    mesh, mattes = VisibleMesh(body.faces), []
    for i in range(FRAMES):
        vertices = dress(body(pose[[i]])[0][0], body.faces, covered(body))
        ids, _ = mesh.seen(vertices.numpy(), K.double().numpy(), view.double().numpy(), SIZE, SIZE)
        mattes.append(torch.from_numpy(ids >= 0).float())
    mattes = torch.stack(mattes)[..., None]

    def look(frames):
        cameras = Cameras(view.expand(len(frames), 4, 4), K.expand(len(frames), 3, 3), SIZE, SIZE)
        signal = DrivingSignal(torch.tensor(frames), pose[frames], torch.zeros(len(frames), 8, 16, 44))
        image = mattes[frames] * torch.tensor([0.8, 0.1, 0.1])
        return Batch(signal, cameras, image, mattes[frames], torch.zeros(3))

    return MethodContext(compose([]), body, pose, list(range(FRAMES)), 44, look)


def test_planted_clothes_are_found_and_bare_skin_stays(body, context):
    worn = dressed(*first_look(context, lambda pose: body(pose)[0][0]), body.faces, body)
    clothed = covered(body) > 0
    torso = clothed & (body.v_template[:, 0].abs() < 0.25) & (body.weights[:, 3:10].sum(1) > 0.5)
    # Whole where outlines show it, less where none does.
    assert float(worn[torso].quantile(0.95)) == pytest.approx(THICK, abs=0.005)
    assert THICK / 2 < float(worn[torso].median()) < THICK
    assert float(worn[body.face].abs().max()) < 2e-3 and float(worn[body.regions["left_hand"]].abs().max()) < 2e-3


def test_a_back_has_the_colours_of_the_front_and_teeth_their_own(body, context):
    colours, seen = seen_colours(*first_look(context, lambda pose: body(pose)[0][0]), body.faces)
    back = (body.v_template[:, 2] < -0.05) & (body.weights[:, [3, 6, 9]].sum(1) > 0.5)
    assert not seen[back].any() and seen.float().mean() > 0.2
    found = completed(colours, seen, body.v_template, parts_of(body))
    torch.testing.assert_close(found[back], torch.tensor([0.8, 0.1, 0.1]).expand(int(back.sum()), 3), atol=0.02, rtol=0)
    assert torch.equal(found[seen], colours[seen])
    unseen = [name for name in USUAL if not seen[body.regions[name]].any()]
    assert unseen and all(torch.equal(found[body.regions[n]][0], torch.tensor(USUAL[n])) for n in unseen)


def test_every_vertex_is_in_one_part(body):
    assert (torch.stack(list(parts_of(body).values())).sum(0) == 1).all()


def test_what_a_frame_shows_of_each_gaussian_sums_to_the_person(context, body):
    method = THGS(context)
    shown = contributions(method, driven_frames(method))
    batch = context.look(context.train_frames)
    frames = [batch.frame(i) for i in range(FRAMES)]
    with torch.no_grad():
        drawn = [float(method.render(method.drive(frame.signal), frame.cameras).alpha.sum()) for frame in frames]
    assert float(shown.sum()) == pytest.approx(sum(drawn) / FRAMES, rel=1e-3)


def test_unseen_gaussians_take_the_colour_of_seen_ones_and_cover_their_place(context, body):
    method = THGS(context)
    with torch.no_grad():
        method.gaussians["sh"][:, 0] = torch.tensor([2.0, 0.0, -1.0])
        back = (body.v_template[:, 2] < -0.05) & (body.weights[:, [3, 6, 9]].sum(1) > 0.5)
        method.gaussians["sh"][back, 0] = 0.0
    extent, driven = torch.full((len(back),), 0.05), driven_frames(method)
    means, own = method.gaussians["means"].detach(), method.gaussians["sh"].detach().clone()
    everything = {"tongue": torch.ones_like(back)}
    fill_unseen(method, driven, means, torch.zeros_like(extent), everything)
    # Of a mouth, what is little seen is little believed, and what lies deep gets little light.
    light = ((means[:, 2] - means[:, 2].max()) / DIM).exp()[:, None]
    gaussians, cameras = driven[0]
    little = LITTLE / pixel_at(gaussians.means, cameras) ** 2
    sure = (seen := contributions(method, driven))[:, None] / (seen[:, None] + little)
    wanted = sure * own[:, 0] + (1 - sure) * rgb_to_sh(light * torch.tensor(USUAL["tongue"]))
    torch.testing.assert_close(method.gaussians["sh"][:, 0], wanted, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        method.gaussians["sh"].copy_(own)
    filled = fill_unseen(method, driven, means, extent, method.parts())
    assert filled[back].all() and not filled.all()
    wanted = torch.tensor([2.0, 0.0, -1.0]).expand(int(back.sum()), 3)
    torch.testing.assert_close(method.gaussians["sh"][back, 0], wanted)
    torch.testing.assert_close(method.gaussians["scales"][back, :2].exp(), torch.full_like(wanted[:, :2], 0.05))
    assert (method.gaussians["scales"][~filled, :2].exp() < 0.05).all()


@pytest.mark.parametrize(("part", "wanted"), [("head", 0.0), ("face", 1.0)])
def test_a_head_has_hair_behind_its_face(part, wanted):
    """On a ball of which no frame shows the back: a forehead in front, hair round it."""
    places = normalize(torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    places = 0.1 * places[places[:, 2] > -0.1]
    forehead = (places[:, 2] > 0.06).float()[:, None].expand(-1, 3)
    found = donated(places, forehead, torch.tensor([[0.0, 0.0, -0.1]]), depth=THROUGH.get(part, DEPTH))
    assert float(found.mean()) == pytest.approx(wanted, abs=1e-6)


def test_a_back_has_what_is_beside_the_opening_in_front():
    """A jacket with a shirt in the middle, filmed from in front down to a picture's edge."""
    grid = torch.cartesian_prod(torch.linspace(-0.2, 0.2, 81), torch.linspace(0.0, 0.4, 81), torch.tensor([0.1]))
    shirt = (grid[:, 0].abs() < 0.07).float()[:, None].expand(-1, 3)
    back = grid * torch.tensor([1.0, 1.0, -1.0]) - torch.tensor([0.0, 0.1, 0.0])  # lower than what is filmed, too
    moved = looks_like("body", grid, back)
    assert float(donated(grid, shirt, moved, depth=THROUGH["body"]).max()) == 0
    assert float(donated(grid, shirt, back, depth=THROUGH["body"]).max()) == 1
    # Stripes go through; sides, fronts and other parts stay what they are.
    assert torch.equal(moved[:, 1:], back[:, 1:])
    side = back[:, 0].abs() > 0.199
    torch.testing.assert_close(moved[side, 0].abs(), back[side, 0].abs())
    assert torch.equal(looks_like("body", back, grid), grid) and torch.equal(looks_like("head", grid, back), back)


def test_what_stands_beyond_the_picture_covers_and_nothing_is_finer_than_a_pixel(context, body):
    method = THGS(context)
    method.begin()
    with torch.no_grad():
        method.gaussians["scales"].fill_(math.log(1e-5))
    driven = driven_frames(method)
    beyond = ~torch.stack([in_picture(gaussians.means, camera) for gaussians, camera in driven]).any(0)
    beyond &= contributions(method, driven) < HIDDEN  # one at the edge is seen
    extent = method._covering(method.surface)
    method._fill(method.surface)
    scales, pixel = method.gaussians["scales"][:, :2].detach().exp(), pixel_at(driven[0][0].means, driven[0][1])
    assert beyond.any() and not beyond.all()
    assert (scales[beyond] > 0.99 * extent[beyond, None]).all()
    finest = (SNUG * extent.detach()).clamp_max(FILTER_2DGS**-0.5 * pixel)
    assert float((scales / finest[:, None]).min()) == pytest.approx(1, rel=1e-4)
    assert float(finest.max()) == pytest.approx(FILTER_2DGS**-0.5 * pixel) and finest.min() < 0.9 * finest.max()


def test_a_jaws_underside_is_whole_whatever_the_film_says(context, body):
    method = THGS(context)
    method.begin()
    with torch.no_grad():
        method.gaussians["opacities"].fill_(-1.0)
        method.gaussians["scales"].fill_(math.log(1e-4))
    method.close(method.surface)
    closed, parent = method.gaussians["opacities"] > 2.9, method.carried_parent
    lip, height = body.v_template[body.regions["lip_outer_lower"], 1].min(), body.v_template[parent, 1]
    face = method.parts()["face"][parent]
    assert face[closed].all() and (height[closed] < lip + 5e-3).all()
    low, straight = face & (height < lip), vertex_normals(body.v_template, body.faces)[parent, 2]
    # What it looks straight at, pixels know better.
    assert closed[low & (straight < 0.6)].float().mean() > 0.95 and not closed[low & (straight > 0.8)].any()
    assert (method.gaussians["scales"][closed, :2].exp() > 1e-3).all()
    assert (method.gaussians["opacities"][~closed] == -1).all()


def test_teeth_are_as_fine_as_teeth(context, body):
    """Four Gaussians in each triangle beside one a vertex, in the teeth's surface and half as far apart."""
    method = THGS(context)
    method.begin()
    own, more = method.gaussians["means"].split([len(body.v_template), 4 * 192])
    teeth, scales = method.in_teeth[method.carried_parent], method.gaussians["scales"].exp()[:, 0]
    assert len(own) == len(body.v_template) and teeth[-len(more) :].all()
    assert method.in_teeth[method.surface.faces[method.carried_face[teeth]]].all()
    assert float(method.surface.height(method.resting().means, method.footing()).norm(dim=-1)[teeth].max()) < 1e-6
    assert float(scales[teeth].median()) < 2.5e-3
    assert float((more[:, None] - more).norm(dim=-1).fill_diagonal_(1).min()) > 1e-4
    assert float((scales / method.surface.spacing[method.carried_parent])[teeth].max()) < 1.0


def test_cloth_is_held_to_where_it_was_seen_hair_loosely_and_a_face_is_not(context, body):
    method, raised = THGS(context), 15e-3
    method.begin()
    resting = method.resting()
    resting = resting._replace(means=resting.means + raised * method.footing().of(method.surface.normals))
    heights = method.held(method.surface, resting, method.footing())["height"]
    face, hair = (here[method.carried_parent] for here in (body.face, method.parts()["head"]))
    # Triangles at a part's edge are partly of it.
    assert ((heights[~face & ~hair] / (raised / LOOSE) ** 2 - 1).abs() < 0.01).float().mean() > 0.95
    assert ((heights[hair] / ((raised - EASE) / LOOSE) ** 2 - 1).abs() < 0.01).float().mean() > 0.95
    assert (heights[face] == 0).float().mean() > 0.9


def test_back_teeth_stand_less_out_of_cheeks_and_lips_open_as_far(context, body):
    """However large their discs are: what lies in the mouth is seen in its opening."""
    method = THGS(context)
    method.begin()
    inner = method.in_the_mouth[method.carried_parent]
    with torch.no_grad():
        method.gaussians["scales"][inner, :2] = math.log(4.5e-3)
        method.gaussians["opacities"].fill_(4.0)
    looked = context.look([FRAMES // 2])
    expression = looked.signal.pose.expression.clone()
    expression[:, body.expression_names.index("jawOpen")] = 1.0
    pose = replace(looked.signal.pose, expression=expression)
    camera = close_up(looked.cameras, body.posed_landmarks(pose)[0, 48:], size=200, room=2.0)
    faces, _ = VisibleMesh(body.faces).before(body(pose)[0][0], camera)
    opening = method.in_the_mouth[body.faces].all(1).numpy()[faces] & (faces >= 0)
    beside = ~binary_dilation(opening, iterations=6)

    def seen(behind):
        method.behind = behind
        with torch.no_grad():
            gaussians = method.drive(replace(looked.signal, pose=pose))
            labelled = replace(gaussians, sh=rgb_to_sh(inner.float()[:, None].expand(-1, 3))[:, None])
            inside = method.render(labelled, camera, torch.zeros(3)).rgb[0, ..., 0].numpy() > 0.5
        return (inside & beside).sum(), (inside & opening).sum()

    (astray, opened), (before, most) = seen(method.behind), seen(0.0)
    assert astray < 0.85 * before and opened > 0.9 * most


def test_an_avatar_that_is_loaded_stands_on_the_person_that_was_seen_at_its_start(context, body):
    """Without a look of its own at the frames."""
    begun, loaded = THGS(context), THGS(replace(context, look=lambda frames: pytest.fail("looked")))
    begun.begin()
    assert float((begun.surface.vertices - body.v_template).norm(dim=-1).max()) > 0.5 * THICK
    checkpoint = {"state_dict": begun.state_dict(), "global_step": 1}
    begun.on_save_checkpoint(checkpoint)
    loaded.on_load_checkpoint(checkpoint)
    loaded.load_state_dict(checkpoint["state_dict"])
    ours, theirs = dict(begun.named_buffers()), dict(loaded.named_buffers())
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
