"""The compiled cost against the same mathematics in plain torch, and its pulls against autograd."""

import pytest
import torch

from talkingavatar.body.keypoints import KeypointBody
from talkingavatar.body.models import load_body
from talkingavatar.preprocessing.alignment.objective import (
    FACING,
    NOISE,
    OFFSETS,
    PARTING_NOISE,
    TRACK_NOISE,
    TRACK_OUTLIER,
    TRACK_WORTH,
    Objective,
    Terms,
)
from talkingavatar.preprocessing.alignment.observations import observe
from talkingavatar.preprocessing.alignment.priors import expression_prior
from talkingavatar.preprocessing.alignment.start import STIFF, choose_prior, start, triples
from talkingavatar.preprocessing.alignment.tracks import Tracks
from talkingavatar.preprocessing.alignment.variables import Variables
from talkingavatar.splatting.cpu.launch import set_threads
from tests.body import published
from tests.preprocessing.performances import FPS, SIZE, seen_performance

SHOTS = [(0, 5), (5, 9)]
LEAVES = ("betas", "offsets", "place", "pose", "expression")
PHASES = {
    "place": (Terms(outlier=0.5), STIFF),
    "vanilla": (Terms(outlier=0.2), None),
    "motion": (Terms(outlier=0.08, smooth=1.3, calibrated=True), None),
}


@pytest.fixture(scope="module", params=["open", "open_flame", "smplx"])
def body(request, cache, tmp_path_factory):
    """Two of the project's own; and a licensed one, which bends its skin by the pose."""
    if request.param != "smplx":
        return load_body(request.param)
    folder = tmp_path_factory.mktemp("models")
    published.write_npz(folder / "SMPLX_NEUTRAL.npz", published.smplx_arrays())
    return load_body("smplx", folder)


@pytest.fixture(scope="module")
def objective(body):
    seen = seen_performance(load_body("open"), SHOTS[-1][1])
    model = KeypointBody(body)
    observations = observe(seen.keypoints, SIZE, SIZE, model.known)
    prior = choose_prior(observations, body.joint_names)
    first = start(observations, model, prior, SHOTS, None)
    priors = (prior, expression_prior(body.expression_names))
    return Objective(model, observations, priors, triples(SHOTS), FPS, first), first


def shaken(first: Variables) -> Variables:
    """Somewhere on the way, as leaves; some turns are zero."""
    random = torch.Generator().manual_seed(0)

    def by(values, size):
        return values + size * torch.randn(values.shape, generator=random)

    made = Variables(
        by(first.betas, 0.5),
        first.focal,
        by(first.offsets, 0.002),
        by(first.place, 0.01),
        by(first.pose, 0.1),
        by(first.expression, 0.3),
    )
    made.pose[::3, ::4] = 0.0
    for name in LEAVES:
        getattr(made, name).requires_grad_()
    return made


def places(body, count: int) -> Tracks:
    random = torch.Generator().manual_seed(1)
    vertices = torch.randint(0, len(body.v_template), (count,), generator=random)
    target = 60 * torch.randn(SHOTS[-1][1], count, 2, generator=random)
    root = torch.randn(count, 2, 2, generator=random)
    seen = torch.rand(target.shape[:2], generator=random) > 0.3
    offsets = 0.01 * torch.randn(count, 3, generator=random)
    return Tracks(vertices, offsets, target, seen, 0.3 * root @ root.transpose(1, 2))


def robust(squared, outlier):
    return squared / (1 + squared / outlier**2)


def plain(objective: Objective, variables: Variables, terms: Terms, counted, tracks: Tracks | None, first: Variables):
    """THGS eqs 16-17 as they are written."""
    seen, (a, b) = objective.observations, FACING
    points, joints = variables.seen(objective.model)
    metres = (variables.project(points) - seen.target) / first.place[:, 2].exp()[:, None, None]
    cost = seen.weight * robust(metres.square().sum(-1), terms.outlier) / NOISE.square()
    parted = robust((metres[:, a] - metres[:, b]).square().sum(-1), terms.outlier) / PARTING_NOISE**2
    cost = cost.index_add(1, a, seen.weight[:, a] * seen.weight[:, b] * parted)
    total = cost[:, slice(None) if counted is None else counted].sum(1).mean()
    total = total + objective.pose_prior.cost(variables.pose).mean()
    total = total + objective.expression_prior.cost(variables.expression) + variables.betas.square().sum()
    if terms.calibrated:
        total = total + (variables.offsets / OFFSETS[:, None]).square().sum()
    if tracks is not None:
        placed = variables.project(variables.surface(objective.model.body, tracks.vertices, tracks.offsets))
        off = placed * SIZE - tracks.target
        pulled = robust(torch.einsum("tmi,mij,tmj->tm", off, tracks.precision, off), TRACK_OUTLIER)
        total = total + TRACK_WORTH / TRACK_NOISE**2 * (tracks.seen * pulled).sum(1).mean()
    every = torch.cat([points, joints], 1)
    i = triples(SHOTS)
    bend = (every[i - 1] - 2 * every[i] + every[i + 1]) * FPS**2
    return total + terms.smooth * (bend.square().sum(-1) * objective.heaviness).sum() / len(every)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("followed", [False, True])
def test_cost_and_pulls_are_those_of_plain_torch(objective, body, phase, followed):
    made, first = objective
    terms, counted = PHASES[phase]
    tracks = places(body, 40) if followed else None
    made.count_tracks(tracks)
    one, other = shaken(first), shaken(first)
    costs = made(one, terms, counted), plain(made, other, terms, counted, tracks, first)
    for cost in costs:
        cost.backward()
    assert costs[0].item() == pytest.approx(costs[1].item(), rel=1e-5)
    for name in LEAVES:
        pulls = [getattr(variables, name).grad for variables in (one, other)]
        assert (pulls[0] - pulls[1]).abs().max() < 1e-4 * pulls[1].abs().max(), name


def test_the_number_of_threads_changes_nothing(objective, body):
    made, first = objective
    made.count_tracks(places(body, 40))
    found = []
    for threads in (1, 2, 3):
        set_threads(threads)
        variables = shaken(first)
        made(variables, *PHASES["motion"]).backward()
        found.append([getattr(variables, name).grad for name in LEAVES])
    set_threads(None)
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))
