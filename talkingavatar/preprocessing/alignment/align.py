"""Full-body motion alignment of one clip, from 2D keypoints to a body before a camera."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.body.keypoints import KeypointBody
from talkingavatar.preprocessing.alignment.distances import Distances, distances
from talkingavatar.preprocessing.alignment.kernels import FLIP
from talkingavatar.preprocessing.alignment.objective import Objective, Terms
from talkingavatar.preprocessing.alignment.observations import observe
from talkingavatar.preprocessing.alignment.priors import expression_prior
from talkingavatar.preprocessing.alignment.solver import TRUNK, Phase, Progress, finished, solve
from talkingavatar.preprocessing.alignment.start import STIFF, choose_prior, start, triples
from talkingavatar.preprocessing.alignment.tracks import Picture, follow
from talkingavatar.preprocessing.alignment.variables import Variables
from talkingavatar.preprocessing.keypoints import Keypoints
from talkingavatar.types import BodyPose

# What reports call the phases.
TITLES = {"vanilla": "vanilla", "motion": "+FMA", "surface": "+surface"}
VERSION = 5  # raise when the same keypoints would give another alignment


@dataclass(frozen=True)
class AlignmentOptions:
    """Settings of the fit."""

    focal: float | None = None  # length in units of the picture's long side; None: see `start.usual_focal`
    smooth: float = 1.0  # weight of the accelerations
    calibrated: bool = True  # learn where on this body the detector's points lie, which one frame alone cannot tell
    place_steps: int = 120
    vanilla_steps: int = 250
    motion_steps: int = 700
    surface_steps: int = 250


@dataclass(frozen=True)
class Alignment:
    """One body, one camera and T frames of motion; the body stands about the origin."""

    pose: BodyPose  # betas are the same in every row
    K: Float[Tensor, "3 3"]  # pixels
    viewmat: Float[Tensor, "4 4"]  # world to camera, OpenCV axes
    keypoints: Float[Tensor, "T 137 2"]  # of the fitted body under the calibration, pixels
    offsets: Float[Tensor, "137 3"]  # from the body's points to the detector's, metres at rest
    distances: dict[str, Distances]  # to the detector's points after each stage: "vanilla", "+FMA", "+surface"


def align(
    keypoints: Keypoints,
    shots: Sequence[tuple[int, int]],
    fps: float,
    width: int,
    height: int,
    body: Body,
    options: AlignmentOptions,
    progress: Progress,
    folder: Path | None = None,
    steady: Bool[ndarray, " T"] | None = None,
    picture: Picture | None = None,
    ready: Callable[[], None] = lambda: None,
) -> Alignment:
    """Fit body, camera and motion to a clip.

    Args:
        keypoints: of all T frames, pixels.
        shots: (start, stop) of each take, stop exclusive; nothing is smoothed across their ends.
        fps: frames per second.
        width, height: of the frames, pixels.
        body: SMPL-X or FLAME, which is fitted to the face alone.
        options: settings.
        progress: `progress(title, total)` returns what is called after each step.
        folder: where finished phases are kept, so that an interrupted fit goes on after the last one.
        steady: frames in which the trunk's points move as the clothes do (`trunk.steady_trunk`), which counts for more.
        picture: the person on a plain background, of a frame by its number; what moves with the body in it is followed
            (`tracks.follow`). None: landmarks alone.
        ready: called before the first picture is asked for; may wait until there are pictures.

    Raises:
        UserError: no frame shows enough of a person.

    Source: THGS eqs 16-17 (methods A.8); priors and stages after SHOW (methods F.1, F.2).
    """
    takes = list(shots)
    model = KeypointBody(body)
    observations = observe(keypoints, width, height, model.known, steady)
    pose_prior = choose_prior(observations, body.joint_names)
    first = start(observations, model, pose_prior, takes, options.focal)
    priors = (pose_prior, expression_prior(body.expression_names))
    objective = Objective(model, observations, priors, triples(takes), fps, first)
    digest = _digest(keypoints, steady, takes, fps, width, height, body, options)
    phases = _phases(options)
    stages = solve(first, objective, phases, folder, digest, progress)
    if picture is not None:
        phase = _once_more(phases[-1], options)
        if finished(phase, folder, digest) is None:
            ready()
            tick = progress("align: following the surface", len(keypoints))
            objective.count_tracks(follow(stages["motion"], body, keypoints, picture, width, height, tick))
        stages |= solve(stages["motion"], objective, [phase], folder, digest, progress)
    last = list(stages)[-1]
    long_side = observations.long_side
    with torch.no_grad():
        seen = {name: variables.project(variables.seen(model)[0]) for name, variables in stages.items()}
        centre = torch.tensor([width, height]) / 2
        pose, K, viewmat = _in_world(stages[last], model, width, height)
    report = {TITLES[name]: distances(points, observations) for name, points in seen.items() if name in TITLES}
    return Alignment(pose, K, viewmat, seen[last] * long_side + centre, stages[last].offsets, report)


def _phases(options: AlignmentOptions) -> list[Phase]:
    """Where the person stands; every frame alone before a fixed camera; then the clip as a whole."""
    everything = ("betas", "place", "pose", "expression")
    return [
        Phase("place", options.place_steps, Terms(outlier=0.5), ("place", "pose"), TRUNK, STIFF),
        Phase("vanilla", options.vanilla_steps, Terms(outlier=0.2), everything),
        Phase(
            "motion",
            options.motion_steps,
            Terms(outlier=0.08, smooth=options.smooth, calibrated=options.calibrated),
            (*everything, "offsets") if options.calibrated else everything,
        ),
    ]


def _once_more(motion: Phase, options: AlignmentOptions) -> Phase:
    """The clip as a whole again, for when its surface was followed; the body's shape stays."""
    free = ("place", "pose", "expression", "offsets")
    return replace(motion, name="surface", steps=options.surface_steps, free=free, pace=0.3)


def _in_world(
    fitted: Variables, model: KeypointBody, width: int, height: int
) -> tuple[BodyPose, Float[Tensor, "3 3"], Float[Tensor, "4 4"]]:
    """Poses about the origin, and the camera that sees them."""
    flip = torch.tensor(FLIP)
    _, joints = model(fitted.body_pose(torch.zeros_like(fitted.place)))
    neck = joints[:, model.body.joint_names.index("neck")]
    transl = fitted.neck() * flip - neck
    middle = transl.mean(0)
    viewmat = torch.eye(4)
    viewmat[:3, :3] = torch.diag(flip)
    viewmat[:3, 3] = flip * middle
    return fitted.body_pose(transl - middle), fitted.intrinsics(width, height), viewmat


def _digest(
    keypoints: Keypoints,
    steady: Bool[ndarray, " T"] | None,
    shots: list[tuple[int, int]],
    fps: float,
    width: int,
    height: int,
    body: Body,
    options: AlignmentOptions,
) -> str:
    made_of = hashlib.sha256(repr((VERSION, shots, fps, width, height, body.checksum, astuple(options))).encode())
    for values in (keypoints.points, keypoints.iris, np.zeros(0) if steady is None else steady):
        made_of.update(np.ascontiguousarray(values, np.float32).tobytes())
    return made_of.hexdigest()
