"""The body is moved to where the picture of a known performance shows it."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from talkingavatar.body.keypoints import KeypointBody
from talkingavatar.body.models import load_body
from talkingavatar.data.visible_mesh import VisibleMesh
from talkingavatar.preprocessing.alignment.align import AlignmentOptions, align
from talkingavatar.preprocessing.alignment.objective import Objective, Terms
from talkingavatar.preprocessing.alignment.observations import observe
from talkingavatar.preprocessing.alignment.priors import expression_prior
from talkingavatar.preprocessing.alignment.start import choose_prior, triples
from talkingavatar.preprocessing.alignment.tracks import follow
from talkingavatar.preprocessing.alignment.variables import Variables
from tests.preprocessing.performances import FOCAL, FPS, SIZE, before_camera, in_picture, seen_performance
from tests.preprocessing.stills import quietly

FRAMES = 20
K = np.array([[FOCAL * SIZE, 0, SIZE / 2], [0, FOCAL * SIZE, SIZE / 2], [0, 0, 1]])
QUICK = AlignmentOptions(focal=FOCAL, place_steps=60, vanilla_steps=120, motion_steps=250, surface_steps=120)


@pytest.fixture(scope="module")
def body(cache):
    return load_body("open")


@pytest.fixture(scope="module")
def seen(body):
    return seen_performance(body, FRAMES)


@pytest.fixture(scope="module")
def true_places(seen, body):
    """Pixels of all vertices, and the vertices before the camera."""
    with torch.no_grad():
        camera = before_camera(body(seen.true)[0])
    return in_picture(camera).numpy(), camera.numpy()


@pytest.fixture(scope="module")
def pictures(body, true_places):
    """The performance on white, each face of the mesh in a shade of its own."""
    mesh = VisibleMesh(body.faces)
    shade = np.random.default_rng(2).uniform(30, 200, len(mesh.faces))
    made = []
    for vertices in true_places[1]:
        ids, _ = mesh.seen(vertices, K, np.eye(4), SIZE, SIZE)
        picture = gaussian_filter(np.where(ids >= 0, shade[ids], 255.0), 1.0)
        made.append(np.repeat(picture.astype(np.uint8)[..., None], 3, 2))
    return made


def fit(seen, body, picture=None, progress=quietly, folder=None, options=QUICK):
    shots = [(0, FRAMES)]
    return align(seen.keypoints, shots, FPS, SIZE, SIZE, body, options, progress, folder, None, picture)


def fitted_places(found, body):
    """Pixels of all vertices, as fitted."""
    with torch.no_grad():
        camera = body(found.pose)[0] @ found.viewmat[:3, :3].T + found.viewmat[:3, 3]
    pixels = (camera @ found.K.T).numpy()
    return pixels[..., :2] / pixels[..., 2:]


def motion_error(found, body, true):
    """By how many pixels vertices of trunk and head stray from their true motion."""
    off = fitted_places(found, body) - true
    inside = ((true > 0) & (true < SIZE)).all((0, 2)).nonzero()[0][::50]
    hands = set(torch.cat([body.regions["left_hand"], body.regions["right_hand"]]).tolist())
    rows = [v for v in inside if v not in hands]
    stray = off[:, rows] - off[:, rows].mean(0)
    return float(np.sqrt(np.square(stray).sum(-1).mean()))


@pytest.fixture(scope="module")
def by_landmarks(seen, body):
    return fit(seen, body)


def test_the_picture_tells_the_motion(seen, body, true_places, pictures, by_landmarks):
    followed = fit(seen, body, pictures.__getitem__)
    before, after = (motion_error(found, body, true_places[0]) for found in (by_landmarks, followed))
    assert after < 0.6 * before
    assert list(followed.distances) == ["vanilla", "+FMA", "+surface"]
    last = followed.distances["+surface"]
    assert last.face < 0.8 and last.hand < 2.5  # the landmarks still count


def test_a_head_alone_is_followed_too(seen, body, true_places, pictures):
    """By what lies on it: clothes beside a neck that ends in the air are not its own."""
    head = load_body("open_flame")
    found = fit(seen, head, pictures.__getitem__)
    assert found.distances["+surface"].face < 0.8
    moved = fitted_places(found, head)[:, head.v_template[:, 1].argmax()]
    true = true_places[0][:, body.v_template[:, 1].argmax()]
    stray = (moved - moved.mean(0)) - (true - true.mean(0))
    assert np.sqrt(np.square(stray).sum(-1).mean()) < 0.2  # pixels; by landmarks alone, of which none is near, 0.29


def test_a_plain_picture_changes_nothing(seen, body, by_landmarks):
    """Nothing to follow: the second fit of the whole clip only goes on."""
    plain = np.full((SIZE, SIZE, 3), 255, np.uint8)
    found = fit(seen, body, lambda _: plain)
    assert (found.keypoints - by_landmarks.keypoints).norm(dim=-1).median() < 0.5


@pytest.fixture(scope="module")
def truth(seen, body):
    """The performance as the fit's variables."""
    neck = before_camera(seen.joints[:, body.joint_names.index("neck")])
    size = neck[:, 2:] / FOCAL
    place = torch.cat([neck[:, :2] / size, -size.log()], 1)
    focal, offsets = torch.tensor(FOCAL).log(), torch.zeros(137, 3)
    return Variables(seen.true.betas[0], focal, offsets, place, seen.true.full_pose, seen.true.expression)


def test_places_are_found_where_the_body_really_is(seen, body, truth, pictures):
    """The fit is led astray by some pixels, differently in each frame; the places are not."""
    astray = truth.detached()
    led = torch.from_numpy(np.random.default_rng(4).normal(0, 2.0, (FRAMES, 2))).float()
    led = led - led.median(0).values
    astray.place[:, :2] += led / SIZE
    tracks = follow(astray, body, seen.keypoints, pictures.__getitem__, SIZE, SIZE, lambda: None)
    with torch.no_grad():
        placed = astray.project(astray.surface(body, tracks.vertices, tracks.offsets)) * SIZE
        straight = placed - led[:, None]  # where the places are but for the planted error
    off = tracks.target - straight
    off = off - off.median(0).values
    across = torch.einsum("tmi,mij,tmj->tm", off, tracks.precision, off).sqrt()
    assert tracks.seen.float().mean() > 0.5 and len(tracks.vertices) > 100
    assert across[tracks.seen].median() < 0.4
    assert led.norm(dim=-1).median() > 1.5


def test_a_body_outside_the_picture_has_no_places(seen, body, truth, pictures):
    away = truth.detached()
    away.place[:, 0] += 9.0
    tracks = follow(away, body, seen.keypoints, pictures.__getitem__, SIZE, SIZE, lambda: None)
    assert not len(tracks.vertices) and not tracks.seen.any()


def test_eyes_mouth_and_hands_are_left_to_the_landmarks(seen, body, truth, pictures):
    tracks = follow(truth, body, seen.keypoints, pictures.__getitem__, SIZE, SIZE, lambda: None)
    with torch.no_grad():
        places = truth.project(truth.surface(body, tracks.vertices, tracks.offsets)) * SIZE + SIZE / 2
    mouth = torch.from_numpy(seen.keypoints.face68()[:, 48:68, :2])
    inside = ((places > mouth.amin(1)[:, None]) & (places < mouth.amax(1)[:, None])).all(-1)
    assert not inside.all(0).any()
    fingers = torch.cat([body.regions["left_hand"], body.regions["right_hand"]])
    assert torch.isin(tracks.vertices, fingers).float().mean() < 0.05


def test_a_still_picture_gives_a_still_cost(seen, body, truth, pictures):
    """At the truth the followed places pull hardly; a pixel to the side, they do."""
    model = KeypointBody(body)
    observations = observe(seen.keypoints, SIZE, SIZE, model.known)
    priors = (choose_prior(observations, body.joint_names), expression_prior(body.expression_names))
    objective = Objective(model, observations, priors, triples([(0, FRAMES)]), FPS, truth)
    terms = Terms(outlier=0.08)
    beside = truth.detached()
    beside.place[::2, 0] += 1.5 / SIZE
    with torch.no_grad():
        plain = [objective(v, terms).item() for v in (truth, beside)]
        objective.count_tracks(follow(truth, body, seen.keypoints, pictures.__getitem__, SIZE, SIZE, lambda: None))
        tracked = [objective(v, terms).item() for v in (truth, beside)]
    at_truth, at_side = (t - p for t, p in zip(tracked, plain, strict=True))
    assert 0 <= at_truth < 0.3 * at_side


class Interrupted(Exception):
    pass


def test_an_interrupted_fit_does_not_follow_twice_what_is_done(seen, body, pictures, tmp_path):
    few = AlignmentOptions(FOCAL, 1.0, place_steps=5, vanilla_steps=6, motion_steps=8, surface_steps=7)
    plain = fit(seen, body, pictures.__getitem__, options=few)
    stopped = []

    def stopping(title, total):
        stopped.append(title)
        if "following" in title:
            raise Interrupted
        return lambda: None

    with pytest.raises(Interrupted):
        fit(seen, body, pictures.__getitem__, stopping, tmp_path, few)
    titles = []
    resumed = fit(seen, body, pictures.__getitem__, lambda t, n: (titles.append(t), quietly(t, n))[1], tmp_path, few)
    assert titles == ["align: following the surface", "align: surface"]
    assert torch.equal(plain.keypoints, resumed.keypoints)
    fit(seen, body, pictures.__getitem__, lambda t, n: (titles.append(t), quietly(t, n))[1], tmp_path, few)
    assert len(titles) == 2  # all of it was kept
