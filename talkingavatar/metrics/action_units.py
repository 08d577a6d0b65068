"""Facial actions told from 68 landmarks, and how far two performances are apart in them.

No detector of action units may be downloaded, so this one is fitted to the body's own face: in every frame the
expression coefficients and the jaw that explain best where the landmarks are, given the tracked pose with a neutral
face. It is an estimator with faults of its own (a landmark does not see a dimple), used alike on render and recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.action_units import UNITS, action_units
from talkingavatar.body.body import Body
from talkingavatar.body.keypoints import KeypointBody
from talkingavatar.errors import UserError
from talkingavatar.metrics.landmarks import CONFIDENT
from talkingavatar.types import BodyPose, Cameras

# Rows of `KeypointBody` in iBUG order: the contour stands behind the inner face there.
LANDMARKS = [*range(118, 135), *range(67, 118)]
CONTOUR_WEIGHT = 0.25  # detectors slide along the contour
NOISE = 0.02  # of a landmark, by the distance of the outer corners of the eyes
USUAL = 0.5  # strength of an action: one standard deviation of what is expected before anything is seen
SEEN = 2e-4  # metres: an action that moves no landmark as far is not seen in landmarks
JAW_STEP = 0.1  # radians, over which the jaw's effect is taken as linear
UNNAMED_JAW = 0.35  # radians of a fully open jaw, where the body has no action "jawOpen" that says so
SWEEPS = 60  # of the coordinate descent
CHUNK = 16  # frames at once

LOWER = ("AU10", "AU12", "AU14", "AU15", "AU17", "AU20", "AU23", "AU25", "AU26")  # methods.md E.6
UPPER = ("AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU45")
UNSEEN = ("AU06", "AU07", "AU14", "AU17")  # hardly move a landmark: told from pixels by chance
MOVES = 0.02  # standard deviation of an intensity, below which it has no correlation


class AuEstimator:
    """Fits a body's facial actions to landmarks.

    `names` are the body's expressions, with "jawOpen", which stands for the turn of the jaw joint. Named actions are
    held in [0, 1]; unnamed expression coefficients (licensed models) are free, and have no action units.

    Args:
        body: any with a landmark embedding and a jaw.
        offsets: from the body's own keypoints to the detector's, metres at rest (`body.keypoints`).

    Raises:
        UserError: the model came without a landmark embedding.
    """

    def __init__(self, body: Body, offsets: Float[Tensor, "137 3"] | None = None) -> None:
        self._points = KeypointBody(body)
        self._offsets = offsets
        self._jaw = body.joint_names.index("jaw")
        expressions = list(body.expression_names)
        self.names = expressions if "jawOpen" in expressions else [*expressions, "jawOpen"]
        self._named = "jawOpen" in expressions
        moved, turned = self._effects(body)
        self._seen = moved.norm(dim=-1).amax(1) > SEEN
        self._open = UNNAMED_JAW
        if self._named:
            place = expressions.index("jawOpen")
            # The turn that moves the landmarks most as the action does.
            self._open = JAW_STEP * float((moved[place] * turned).sum() / turned.square().sum())
            self._seen[place] = False
        self._columns = self._seen.nonzero()[:, 0].tolist()

    @torch.no_grad()
    def _effects(self, body: Body) -> tuple[Float[Tensor, "E 68 3"], Float[Tensor, "68 3"]]:
        """How far the neutral face's landmarks are moved by each expression, and by a turn of the jaw, metres."""
        count = body.expressiondirs.shape[2]
        pose = body.zero_pose(count + 2)
        pose.expression[1 : count + 1] = torch.eye(count, device=body.device)
        pose.full_pose[-1, self._jaw, 0] = JAW_STEP
        points = self._points(pose)[0][:, LANDMARKS]
        return points[1:-1] - points[0], points[-1] - points[0]

    def estimate(self, landmarks: Float[ndarray, "T 68 3"], pose: BodyPose, cameras: Cameras) -> Float[ndarray, "T A"]:
        """Strength of each of `names` in each frame; NaN where no landmark is seen, or none shows the action.

        Args:
            landmarks: x, y in pixels, confidence; as detected.
            pose: as tracked, of the same frames; what it says of expression and jaw is not used.
            cameras: of the same frames.

        Raises:
            UserError: landmarks, pose and cameras are not of as many frames.
        """
        if not len(landmarks) == len(pose) == len(cameras):
            found = f"{len(landmarks)} frames of landmarks, {len(pose)} of poses, {len(cameras)} cameras"
            raise UserError("landmarks", found, "as many of each", "give the same frames")
        places = [*self._columns, self.names.index("jawOpen")]
        solved = np.full((len(landmarks), len(self.names)), np.nan)
        for start in range(0, len(landmarks), CHUNK):
            part = slice(start, start + CHUNK)
            seen_by = replace(cameras, viewmats=cameras.viewmats[part], Ks=cameras.Ks[part])
            solved[part, places] = self._solve(landmarks[part], *self._linearised(pose[part], seen_by))
        return solved

    @torch.no_grad()
    def _linearised(
        self, pose: BodyPose, cameras: Cameras
    ) -> tuple[Float[ndarray, "T 68 2"], Float[ndarray, "T K 68 2"]]:
        """Pixels of the neutral face, and how a full action moves them; the last one is the jaw."""
        frames, unknowns = len(pose), len(self._columns) + 1
        rows = torch.arange(frames).repeat_interleave(unknowns + 1)
        many = pose[rows]
        full_pose, expression = many.full_pose.clone(), torch.zeros_like(many.expression)
        full_pose[:, self._jaw] = 0
        full_pose.unflatten(0, (frames, -1))[:, -1, self._jaw, 0] = JAW_STEP
        acting = expression.unflatten(0, (frames, -1))
        for row, column in enumerate(self._columns, start=1):
            acting[:, row, column] = 1.0
        world = self._points(replace(many, full_pose=full_pose, expression=expression), self._offsets)[0][:, LANDMARKS]
        seen = torch.einsum("bij,bnj->bni", cameras.viewmats[rows, :3, :3], world) + cameras.viewmats[rows, None, :3, 3]
        pixels = torch.einsum("bij,bnj->bni", cameras.Ks[rows], seen)
        places = (pixels[..., :2] / pixels[..., 2:]).unflatten(0, (frames, -1)).double().cpu().numpy()
        moves = places[:, 1:] - places[:, :1]
        moves[:, -1] *= self._open / JAW_STEP
        return places[:, 0], moves

    def _solve(
        self, landmarks: Float[ndarray, "t 68 3"], neutral: Float[ndarray, "t 68 2"], moves: Float[ndarray, "t K 68 2"]
    ) -> Float[ndarray, "t K"]:
        """Ridge regression on the actions and a similarity in the picture, with actions held in their range."""
        xy, confidence = landmarks[..., :2].astype(np.float64), landmarks[..., 2]
        known = np.isfinite(landmarks).all(-1) & (confidence > CONFIDENT)
        eyes = np.linalg.norm(neutral[:, 36] - neutral[:, 45], axis=-1)[:, None, None]
        weight = np.where(known, 1.0, 0.0) / NOISE
        weight[:, :17] *= np.sqrt(CONTOUR_WEIGHT)
        centred = (neutral - neutral.mean(1, keepdims=True)) / eyes
        turned = np.stack([-centred[..., 1], centred[..., 0]], -1)
        sideways, upright = np.broadcast_to([1.0, 0.0], centred.shape), np.broadcast_to([0.0, 1.0], centred.shape)
        similarity = np.stack([centred, turned, sideways, upright], 1)
        design = np.concatenate([moves / eyes[..., None], similarity], 1) * weight[:, None, :, None]
        target = np.where(known[..., None], (xy - neutral) / eyes, 0.0) * weight[..., None]
        actions = moves.shape[1]
        low, high = np.full(actions + 4, -np.inf), np.full(actions + 4, np.inf)
        if self._named:
            low[:actions], high[:actions] = 0.0, 1.0
        # The similarity is as good as free: its ridge only keeps a frame without landmarks solvable.
        ridge = np.array([USUAL**-2] * actions + [1e-3] * 4)
        solved = bounded_ridge(design.reshape(*design.shape[:2], -1), target.reshape(len(target), -1), ridge, low, high)
        solved[known.sum(1) < 4] = np.nan
        return solved[:, :actions]


def bounded_ridge(
    design: Float[ndarray, "t K M"],
    target: Float[ndarray, "t M"],
    ridge: Float[ndarray, " K"],
    low: Float[ndarray, " K"],
    high: Float[ndarray, " K"],
) -> Float[ndarray, "t K"]:
    """argmin |design^T c - target|^2 + ridge c^2 with low <= c <= high, by coordinate descent from the free optimum."""
    gram = design @ design.transpose(0, 2, 1) + np.diag(ridge)
    linear = np.einsum("tkm,tm->tk", design, target)
    solved = np.linalg.solve(gram, linear[..., None])[..., 0].clip(low, high)
    for _ in range(SWEEPS):
        for k in range(len(ridge)):
            rest = linear[:, k] - np.einsum("tk,tk->t", gram[:, k], solved)
            solved[:, k] = np.clip(solved[:, k] + rest / gram[:, k, k], low[k], high[k])
    return solved


def au_error(a: Float[ndarray, "T A"], b: Float[ndarray, "S B"], names: Sequence[str]) -> dict[str, float]:
    """Action unit error of TalkingGaussian (methods.md E.6) between facial actions, and correlation by unit.

    Returns:
        "aue_lower", "aue_upper": per-unit mean squared error of intensities 0 to 5, summed over the lower and the upper
        face; "r/<unit>": Pearson correlation, NaN where a unit moves in neither or is not seen. Frames where either
        has no landmarks are left out; all is NaN where none is left.

    Raises:
        UserError: tables of different shape, or actions without the names of ARKit.
    """
    if a.shape != b.shape or a.shape[1] != len(names):
        found, expected = f"{a.shape} against {b.shape}, {len(names)} names", "the same frames and actions in both"
        raise UserError("action units", found, expected, "estimate both over the same frames")
    return unit_error(*(np.stack(list(action_units(values, names).values()), 1) for values in (a, b)))


def unit_error(a: Float[ndarray, "T 17"], b: Float[ndarray, "T 17"]) -> dict[str, float]:
    """The same of intensities 0 to 5, in OpenFace's order."""
    x, y = (dict(zip(UNITS, values.T, strict=True)) for values in (a, b))
    errors = {unit: _mean(np.square(x[unit] - y[unit])) for unit in UNITS}
    sums = {f"aue_{side}": _sum(errors[unit] for unit in units) for side, units in (("lower", LOWER), ("upper", UPPER))}
    return sums | {f"r/{unit}": _correlation(x[unit], y[unit]) for unit in UNITS}


def mean_correlation(compared: Mapping[str, float]) -> float:
    """Of the units that move; NaN where none does."""
    moving = [value for name, value in compared.items() if name.startswith("r/") and np.isfinite(value)]
    return float(np.mean(moving)) if moving else float("nan")


def _sum(values: Iterable[float]) -> float:
    """Of the units seen; NaN where none is."""
    known = [value for value in values if np.isfinite(value)]
    return sum(known) if known else float("nan")


def _mean(values: Float[ndarray, " T"]) -> float:
    known = np.isfinite(values)
    return float(values[known].mean()) if known.any() else float("nan")


def _correlation(a: Float[ndarray, " T"], b: Float[ndarray, " T"]) -> float:
    known: Bool[ndarray, " T"] = np.isfinite(a) & np.isfinite(b)
    if known.sum() < 3 or a[known].std() < MOVES or b[known].std() < MOVES:
        return float("nan")
    return float(np.corrcoef(a[known], b[known])[0, 1])
