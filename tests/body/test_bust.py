from dataclasses import replace

import torch

from talkingavatar.body.bust import Figure, neck_edge
from talkingavatar.geometry.rotations import axis_angle_to_matrix


def turned(pose, angles):
    full_pose = pose.full_pose.clone()
    full_pose[:, 0] = torch.tensor(angles)
    return replace(pose, full_pose=full_pose)


def test_the_neck_s_edge_is_one_ring_of_neighbours_at_the_bottom(head):
    ring = neck_edge(head)
    edges = {tuple(sorted(e)) for f in head.faces.tolist() for e in zip(f, f[1:] + f[:1], strict=True)}
    assert all(tuple(sorted(e)) in edges for e in zip(ring.tolist(), ring.roll(-1).tolist(), strict=True))
    assert head.v_template[ring, 1].mean() < head.v_template[:, 1].quantile(0.1)
    assert len(ring) == len(set(ring.tolist())) > 20


def test_a_whole_body_needs_no_bust(body):
    figure = Figure(body, body.zero_pose())
    assert len(figure.bust) == 0 and torch.equal(figure.faces, body.faces)
    torch.testing.assert_close(figure(body.zero_pose()), body(body.zero_pose())[0][0])


def test_the_bust_begins_at_the_neck_and_faces_outwards(head):
    figure = Figure(head, head.zero_pose())
    vertices = figure(head.zero_pose())
    ring = neck_edge(head)
    torch.testing.assert_close(vertices[len(head.v_template) :][: len(ring)], vertices[ring], atol=1e-6, rtol=0)
    a, b, c = vertices[figure.faces[figure.bust_faces]].unbind(1)
    outwards = torch.linalg.cross(b - a, c - a) * (a - vertices[ring].mean(0))
    assert (outwards[:, [0, 2]].sum(-1) > 0).float().mean() > 0.9
    assert len(figure.faces) - len(head.faces) == len(a)


def test_shoulders_travel_with_the_neck_but_do_not_turn_with_it(head):
    rest = head.zero_pose()
    figure = Figure(head, rest)
    calm, bent = figure(rest), figure(turned(rest, [0.0, 0.6, 0.0]))
    first, last = len(head.v_template), len(neck_edge(head))
    root = head.rest_joints(rest.betas)[0, 0]
    expected = (calm[first : first + last] - root) @ axis_angle_to_matrix(torch.tensor([0.0, 0.6, 0.0])).T + root
    torch.testing.assert_close(bent[first : first + last], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(bent[-last:], calm[-last:], atol=1e-5, rtol=0)
    moved = figure(replace(rest, transl=torch.tensor([[0.1, 0.0, 0.0]])))
    torch.testing.assert_close(moved[-last:], calm[-last:] + torch.tensor([0.1, 0, 0]), atol=1e-5, rtol=0)
    with torch.no_grad():
        figure.follow.zero_()
    still = figure(replace(rest, transl=torch.tensor([[0.1, 0.0, 0.0]])))
    torch.testing.assert_close(still[-last:], calm[-last:], atol=1e-5, rtol=0)


def test_nothing_tears_between_rows(head):
    """Neighbouring rows stay neighbours when the head turns: no triangle of the bust grows beyond twice its size."""
    rest = head.zero_pose()
    figure = Figure(head, rest)
    faces = figure.faces[figure.bust_faces]

    def longest(vertices):
        a, b, c = vertices[faces].unbind(1)
        return torch.stack([(a - b).norm(dim=-1), (b - c).norm(dim=-1), (c - a).norm(dim=-1)]).amax(0)

    assert (longest(figure(turned(rest, [0.2, 0.5, 0.1]))) / longest(figure(rest))).max() < 2.5


def test_its_weights_and_transforms_carry_the_resting_figure_into_any_pose(head):
    pose = turned(replace(head.zero_pose(), betas=torch.full((1, head.shapedirs.shape[2]), 0.5)), [0.1, 0.4, 0.0])
    figure = Figure(head, replace(pose, transl=torch.tensor([[0.0, 0.1, 0.0]])))
    maps = (figure.weights @ figure.transforms(pose).flatten(1)).unflatten(1, (3, 4))
    carried = (maps[..., :3] @ figure.resting(pose.betas[0])[..., None])[..., 0] + maps[..., 3]
    torch.testing.assert_close(carried, figure(pose), atol=1e-5, rtol=0)
