"""A baked avatar moves in a browser as the method that it was baked of moves it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.exporters.bake_file import ARRAYS, OPTIONAL, baked_glb
from talkingavatar.exporters.static import settled
from talkingavatar.geometry.rotations import quat_to_matrix
from talkingavatar.methods.skin_bound import AWAY
from talkingavatar.networks.baked import posed
from talkingavatar.networks.latent_mapper import principal_steps
from tests.methods.test_baking import CASES, make  # noqa: F401
from tests.methods.test_triangle_bound import batch_of
from tests.viewer.pages import camera_text, floats, renderer_page, said

FAMILIES = ["flame_rigged, licensed", "motion_latent", "au_diffusion", "thgs, licensed"]
NEAR = 1e-4  # metres
LEAST = 38.0  # dB


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def page(folder):
    with renderer_page(folder) as browser:
        yield browser


@pytest.fixture(scope="module")
def baked(make):  # noqa: F811
    """Of a family: method, what drives it in a frame, the baking, and its file."""

    def of(case):
        method, signal = make(*CASES[case])
        baking = method.bake(signal)
        still = settled(method.drive(signal[:1]))
        return method, signal[:1], baking, baked_glb(baking.avatar, facts_of(method), still)

    return of


def facts_of(method):
    body = method.body
    names = {"expressions": list(body.expression_names), "joints": list(body.joint_names)}
    return {"mode": method.config.renderer.mode, **names, "away": AWAY, "behind": method.behind}


def frame_text(moment) -> str:
    parts = {name: value[0].flatten().tolist() for name, value in vars(moment).items()}
    return "{" + ", ".join(f"{name}: new Float32Array({json.dumps(part)})" for name, part in parts.items()) + "}"


def read(page, name, *shape) -> Float[ndarray, "..."]:
    return floats(page, f"(async () => (await renderer.readPass(renderer.instances[0])).{name})()").reshape(shape)


@pytest.mark.parametrize("case", FAMILIES)
def test_passes_and_pixels_are_the_methods(folder, page, baked, case):
    method, signal, baking, data = baked(case)
    (folder / "baked.glb").write_bytes(data)
    cameras = batch_of(signal.pose, [0]).cameras
    page.run("renderer.instances.forEach((instance) => renderer.remove(instance))")
    page.run("(async () => renderer.add(await Avatar.load('baked.glb')).place)()")
    page.run(f"renderer.instances[0].setFrame({frame_text(baking.moments(signal))})")
    expected = method.drive(signal)
    halves = floats(page, "renderer.instances[0].avatar.values('skin.basis').slice(0, 5000)")
    assert np.array_equal(halves, baking.avatar.skin.basis.half().float().numpy().ravel()[:5000])
    axes = (quat_to_matrix(expected.quats) * expected.scales[:, None]).mT
    count = len(expected)
    assert np.abs(read(page, "means", count, 3) - expected.means.numpy()).max() < NEAR
    assert np.abs(read(page, "axes", count, 3, 3) - axes.numpy()).max() < NEAR
    assert np.abs(read(page, "opacities", count) - expected.opacities.numpy()).max() < 1e-4
    assert np.abs(read(page, "sh0", count, 3) - expected.sh[:, 0].numpy()).max() < 1e-4

    drawn = method.render(expected, cameras)
    background = method.config.renderer.background
    page.run(f"renderer.background = {list(background)}; renderer.camera = {camera_text(cameras)}; 1")
    pixels = floats(page, "renderer.pixels({float: true})").reshape(cameras.height, cameras.width, 4)
    assert -10 * np.log10(np.square(pixels[..., :3] - drawn.rgb[0].numpy()).mean()) > LEAST


def test_the_mouths_inside_is_hidden_by_what_is_before_it(folder, page, make, monkeypatch):  # noqa: F811
    """Discs of it that stand out are seen, and are not once they are drawn deeper."""
    method, signal = make(*CASES["thgs, licensed"])
    frame, cameras = signal[:1], batch_of(signal.pose, [0]).cameras
    monkeypatch.setattr(method, "in_the_cheeks", method.in_the_mouth)  # the made head is all lips
    monkeypatch.setattr(method, "carried_parent", method.carried_parent.clone())  # nothing found of it is kept
    inside = method.in_the_mouth[method.carried_parent]
    bright = torch.where(inside[:, None, None], 1.7, -1.7)
    page.run(f"renderer.background = [0, 0, 0]; renderer.camera = {camera_text(cameras)}; 1")
    seen = {}
    for metres in (0.0, 0.5):
        monkeypatch.setattr(method, "behind", metres)
        baking = method.bake(signal)
        resting = baking.avatar.gaussians
        widened = replace(
            resting,
            log_scales=torch.where(inside[:, None], -4.0, resting.log_scales),
            opacities=torch.full_like(resting.opacities, 5.0),
            sh=bright * torch.ones_like(resting.sh),
        )
        avatar = replace(baking.avatar, gaussians=widened)
        gaussians = posed(avatar, baking.moments(frame))
        (folder / "behind.glb").write_bytes(baked_glb(avatar, facts_of(method), settled(gaussians)))
        page.run("renderer.instances.forEach((instance) => renderer.remove(instance))")
        page.run("(async () => renderer.add(await Avatar.load('behind.glb')).place)()")
        page.run(f"renderer.instances[0].setFrame({frame_text(baking.moments(frame))})")
        pixels = floats(page, "renderer.pixels({float: true})").reshape(cameras.height, cameras.width, 4)
        drawn = method.render(gaussians, cameras, torch.zeros(3)).rgb[0].numpy()
        assert -10 * np.log10(np.square(pixels[..., :3] - drawn).mean()) > LEAST
        seen[metres] = drawn.mean()
    assert seen[0.5] < 0.5 * seen[0.0]


def test_latents_move_it_as_they_move_the_method(folder, page, make):  # noqa: F811
    """Two at once, one between places: near the middle of all frames a table of each is as good as the mapper."""
    method, signal = make(*CASES["motion_latent"])
    baking, latent = method.bake(signal), method.latent_of(signal)
    data = baked_glb(baking.avatar, facts_of(method), settled(method.drive(signal[:1])))
    (folder / "latents.glb").write_bytes(data)
    middle = replace(signal[:1], latent=latent.mean(0, keepdim=True))
    change = torch.tensor([1.0, -0.25]) @ principal_steps(latent[:, : method.dyn], 2)
    moved = replace(middle, latent=middle.latent + torch.nn.functional.pad(change, (0, latent.shape[1] - method.dyn)))
    page.run("renderer.instances.forEach((instance) => renderer.remove(instance))")
    page.run(f"""(async () => {{
      const {{Latents}} = await import('./js/latents.js');
      const avatar = await Avatar.load('latents.glb');
      const frame = {frame_text(baking.moments(middle))};
      new Latents(avatar).apply(frame, {{'latent 1': 1, 'latent 2': -0.25, 'latent 99': 1}});
      renderer.add(avatar).setFrame(frame);
    }})()""")
    before, expected = method.drive(middle), method.drive(moved)
    found = read(page, "means", len(expected), 3)
    far = (expected.means - before.means).norm(dim=1).max()
    assert far > 10 * NEAR and np.abs(found - expected.means.numpy()).max() < 0.03 * far


def test_the_page_knows_the_files_arrays(page):
    axes = page.run("(async () => (await import('./js/contract.js')).AXES)()")
    assert axes == {name: told for name, (_, _, told) in ARRAYS.items()}
    missing = page.run(
        """(async () => {
          const {AXES, misfit} = await import('./js/contract.js');
          const array = (name) => ({shape: [...AXES[name]].map((axis) => Number(axis) || 5)});
          const all = Object.fromEntries(Object.keys(AXES).map((name) => [name, array(name)]));
          const without = (name) => Object.fromEntries(Object.entries(all).filter(([other]) => other !== name));
          const needed = (name) => misfit(without(name), {}).startsWith('no ');
          return [misfit(all, {}), Object.keys(AXES).filter((name) => !needed(name))];
        })()"""
    )
    assert missing == ["", [name for name in ARRAYS if name in OPTIONAL]]


def test_arrays_that_do_not_fit_are_said(folder, page, baked):
    *_, data = baked("flame_rigged, licensed")
    wrong = data.replace(b'"anchor.follow": {"view": ', b'"anchor.fallow": {"view": ')
    (folder / "other.glb").write_bytes(wrong.replace(b'"shape": [3, 4]', b'"shape": [4, 3]'))
    assert said(page, "Avatar.load('other.glb')") == "other.glb: damaged (anchor of 4 x 3): export it again"
