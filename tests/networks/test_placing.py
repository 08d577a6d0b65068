"""Skin and place: the compiled and the plain version agree, forwards and backwards, for any number of threads."""

import pytest
import torch

from talkingavatar.geometry.rotations import quat_to_matrix
from talkingavatar.geometry.triangles import triangle_frames
from talkingavatar.networks.footing import Footing
from talkingavatar.networks.placing import Local, Offsets, place, place_plain, triangle_maps
from talkingavatar.networks.skinning import SkinningField, SparseWeights
from talkingavatar.splatting.cpu.launch import set_threads

COUNT, CARRIERS, VERTICES = 1500, 40, 30


def some(*shape, seed=0, **options):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **options)


def footing(corners):
    """Each on one vertex, or somewhere in a triangle of three."""
    vertex = torch.arange(COUNT) * 11 % VERTICES
    if corners == 1:
        return Footing.on(vertex)
    shares = some(COUNT, 3, seed=8).softmax(-1)
    return Footing(torch.stack([vertex, (vertex + 1) % VERTICES, (vertex + 5) % VERTICES], 1), shares)


def inputs(carried, displaced):
    local = Local(some(COUNT, 3), some(COUNT, 4, seed=1), some(COUNT, 3, seed=2).exp())
    maps = some(CARRIERS if carried else COUNT, 3, 4, seed=3)
    carrier = torch.arange(COUNT) * 7 % CARRIERS if carried else None
    offsets = Offsets(some(VERTICES, 3, seed=4), footing(3)) if displaced else None
    return local, maps, carrier, offsets


def gradients(call, local, maps, carrier, offsets, scaled):
    leaves = [x.clone().requires_grad_() for x in (*local, maps, *(offsets[:1] if offsets else ()))]
    given = None if offsets is None else Offsets(leaves[4], offsets.footing)
    out = call(Local(*leaves[:3]), leaves[3], carrier, given, scaled)
    sum((o * some(*o.shape, seed=9 + i)).sum() for i, o in enumerate(out)).backward()
    return out, [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("displaced", [False, True])
@pytest.mark.parametrize("carried", [False, True])
def test_compiled_and_plain_place_agree(carried, displaced, scaled):
    given = inputs(carried, displaced)
    for mine, plain in zip(gradients(place, *given, scaled), gradients(place_plain, *given, scaled), strict=True):
        for a, b in zip(mine, plain, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.detach().abs().max()))


def test_maps_that_nothing_is_learned_through_change_no_other_gradient():
    local, maps, carrier, _ = inputs(True, False)
    _, (*learned, _) = gradients(place, local, maps, carrier, None, True)
    leaves = [x.clone().requires_grad_() for x in local]
    out = place(Local(*leaves), maps, carrier, scaled=True)
    sum((o * some(*o.shape, seed=9 + i)).sum() for i, o in enumerate(out)).backward()
    assert all(torch.equal(leaf.grad, gradient) for leaf, gradient in zip(leaves, learned, strict=True))
    assert maps.grad is None


def test_a_quaternion_turns_with_the_map_and_a_scale_grows_with_it():
    """A similarity carries a Gaussian's axes and extent as it carries points."""
    size = 2.5
    turn = torch.tensor([[0.7648422, -0.6442177, 0.0], [0.6442177, 0.7648422, 0.0], [0.0, 0.0, 1.0]])
    maps = torch.cat([size * turn, torch.tensor([[1.0], [2.0], [3.0]])], 1)[None]
    local = Local(torch.tensor([[0.1, 0.2, 0.3]]), some(1, 4), torch.ones(1, 3))
    means, quats, scales = place(local, maps, torch.zeros(1, dtype=torch.long), scaled=True)
    torch.testing.assert_close(means[0], maps[0, :, :3] @ local.means[0] + maps[0, :, 3])
    torch.testing.assert_close(quat_to_matrix(quats[0]), turn @ quat_to_matrix(local.quats[0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(scales, torch.full((1, 3), size), atol=1e-3, rtol=0)


def field():
    torch.manual_seed(0)
    weights = torch.rand(5, 6, 6, 6).where(torch.rand(5, 6, 6, 6) > 0.5, 0.0) + 1e-3
    weights[3] = 0.0
    low, high = torch.full((3,), -1.0), torch.full((3,), 1.0)
    skinning = SkinningField.from_grid(weights / weights.sum(0), low, high)
    torch.nn.init.normal_(skinning.residual, std=0.2)
    anchors = SparseWeights(0.1 * some(VERTICES, 5).where(some(VERTICES, 5, seed=5) > 0, 0.0))
    return skinning, anchors


def skinned(call, skinning, anchors, corners=3):
    points = 1.2 * torch.tanh(some(COUNT, 3))  # some outside
    motion = some(5, 3, 4, seed=6).requires_grad_()
    skinning.residual.grad = None
    maps = call(points, motion, anchors, footing(corners))
    (maps * some(*maps.shape, seed=7)).sum().backward()
    return maps, motion.grad, skinning.residual.grad


@pytest.mark.parametrize("corners", [0, 1, 3])
def test_compiled_and_plain_skin_agree(corners):
    skinning, anchors = field()
    anchors = anchors if corners else None

    def plain(points, motion, *rest):
        return skinning.plain(points, motion.flatten(1), *rest)

    ours, theirs = (skinned(call, skinning, anchors, corners or 1) for call in (skinning, plain))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.detach().abs().max()))


def test_the_number_of_threads_changes_no_bit():
    skinning, anchors = field()
    results = []
    try:
        for threads in (1, 2, 3):
            set_threads(threads)
            results.append([*skinned(skinning, skinning, anchors), *gradients(place, *inputs(True, True), True)[1]])
    finally:
        set_threads(None)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_joints_that_move_a_node_not_at_all_never_learn_to():
    """The clamp lets no gradient through there, so leaving them out changes nothing."""
    skinning, _ = field()
    dense = skinning.weights.dense(skinning.weights.values)
    residual = torch.zeros_like(dense, requires_grad=True)
    summed = (dense + residual).clamp_min(1e-8)
    (summed / summed.sum(-1, keepdim=True) * some(*dense.shape)).sum().backward()
    assert (dense == 0).any() and (residual.grad[dense == 0] == 0).all()


def test_compiled_and_plain_triangle_maps_agree():
    faces = torch.randint(0, VERTICES, (300, 3), generator=torch.Generator().manual_seed(0))
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])]
    results = []
    for call in (triangle_maps, lambda v, f: triangle_frames(v[f]).maps):
        vertices = some(VERTICES, 3).requires_grad_()
        maps = call(vertices, faces)
        (maps * some(*maps.shape, seed=1)).sum().backward()
        results.append((maps, vertices.grad))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)
