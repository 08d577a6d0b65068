"""Motion of face meshes of people drawn at random, who talk as the embedded speakers do: what a mesh code learns from.

Nobody here is one of the named speakers, so that a code can be measured on those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import lightning as L
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from talkingavatar.audio.speech import Speech, load_speech, voices
from talkingavatar.body.face_mesh import FaceMesh
from talkingavatar.data.sampler import StepLoader
from talkingavatar.data.speaker.body_motion import Performance, Style, perform
from talkingavatar.data.speaker.identity import IDENTITIES
from talkingavatar.geometry.similarity import head_angles, similarity
from talkingavatar.networks.mesh_code import MeshCode, MotionLatent
from talkingavatar.types import BodyPose

FPS = 25.0
LARGEST = 2.5  # of a shape coefficient that is drawn, in standard deviations
CHUNK = 64  # frames at once
RIDGE = 1e-3  # of the map to the rig, in the codes' mean square
GAIN = (0.7, 1.3)  # by which a face moves less or more than another
ODD, ACTIONS, STRENGTH = 0.3, 0.1, 0.8  # share of faces with odd actions on top, share of those, and how strong at most


class MeshBatch(NamedTuple):
    """Offsets of B faces from their neutral ones, in distances between the eyes, and of others who do the same."""

    offsets: Float[Tensor, "B N 3"]
    others: Float[Tensor, "B N 3"]


@dataclass(frozen=True)
class Take:
    """Somebody drawn at random who says a stretch of an embedded voice: all that their motion and sound follow from."""

    voice: str
    begin: float  # seconds in the voice's recording
    frames: int
    mouth: float  # of the `Style`
    feeling: float
    blinks: float
    seed: int

    def speech(self) -> Speech:
        """What is said; it may be shorter than the take."""
        voice = load_speech(self.voice)
        return voice.excerpt(self.begin, min(self.begin + self.frames / FPS, voice.duration))

    def performance(self) -> Performance:
        """The motion, of every frame."""
        style = Style(mouth=self.mouth, feeling=self.feeling, blinks=self.blinks)
        return perform(self.speech(), self.frames, FPS, self.seed, style)


@dataclass(frozen=True)
class Motions:
    """F frames of faces that talk."""

    expression: Float[Tensor, "F E"]
    full_pose: Float[Tensor, "F 55 3"]
    takes: list[Take]  # one after the other

    def __len__(self) -> int:
        return len(self.expression)


def offsets_of(
    mesh: FaceMesh, betas: Float[Tensor, "B S"], expression: Float[Tensor, "B E"], full_pose: Float[Tensor, "B J 3"]
) -> Float[Tensor, "B N 3"]:
    """How far faces are from their neutral ones, in distances between the eyes, once their stiff points lie on them."""
    neutral = mesh.neutral(betas)
    return unposed(mesh, mesh.moved(betas, expression, full_pose), neutral)


def unposed(mesh: FaceMesh, seen: Float[Tensor, "B N 3"], neutral: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
    """How far faces are from their neutral ones, in distances between the eyes, once their stiff points lie on them."""
    scale, rotation, place = similarity(neutral[:, mesh.stiff], seen[:, mesh.stiff])
    laid = (seen - place[:, None]) @ rotation / scale[:, None, None]
    return (laid - neutral) / mesh.size(neutral)[:, None, None]


def random_takes(performances: int, seconds: float, seed: int) -> list[Take]:
    """Speakers of chance style, the voices in turn."""
    takes, draw = [], np.random.default_rng([seed, 17])
    for number in range(performances):
        voice = voices()[number % len(voices())]
        begin = draw.uniform(0, max(0.0, load_speech(voice).duration - seconds))
        mouth, feeling, blinks = draw.uniform(0.8, 1.3), draw.uniform(0.6, 1.2), draw.uniform(10, 35)
        takes.append(Take(voice, begin, round(seconds * FPS), mouth, feeling, blinks, int(draw.integers(2**31))))
    return takes


def motions_of(takes: list[Take], names: list[str]) -> Motions:
    """What they do, one after the other; `names` of the expressions."""
    parts = [take.performance() for take in takes]
    expression = np.concatenate([part.expression_matrix(names) for part in parts])
    full_pose = np.concatenate([part.full_pose for part in parts])
    return Motions(torch.from_numpy(expression), torch.from_numpy(full_pose), takes)


def rig_values(mesh: FaceMesh, expression: Float[Tensor, "F E"], full_pose: Float[Tensor, "F J 3"]) -> Tensor:
    """What of a rig moves its face: expressions, then the rotations of jaw and eyes, in a row a frame."""
    return torch.cat([expression, full_pose[:, mesh.joints].flatten(1)], 1)


def rig_from_code(mesh: FaceMesh, code: MeshCode, motions: Motions) -> Float[Tensor, "P D"]:
    """The linear map from codes to what of the rig makes these motions, with the least squares."""
    dyn, values = [], []
    for rows in torch.arange(len(motions)).split(CHUNK):
        expression, full_pose = motions.expression[rows], motions.full_pose[rows]
        betas = expression.new_zeros(len(rows), mesh.body.shapedirs.shape[2])
        dyn.append(code.encode(offsets_of(mesh, betas, expression, full_pose)))
        values.append(rig_values(mesh, expression, full_pose))
    codes = torch.cat(dyn)
    alike = codes.T @ codes + RIDGE * len(codes) * torch.eye(codes.shape[1])
    return torch.linalg.solve(alike, codes.T @ torch.cat(values)).T


def bank_of(mesh: FaceMesh, code: MeshCode, motions: Motions) -> MotionLatent:
    """Codes of the mean face in these motions, and poses about each performance's mean."""
    dyn, pose = [], []
    neutral = mesh.neutral(mesh.body.zero_pose().betas)
    size = mesh.size(neutral)
    for rows in torch.arange(len(motions)).split([take.frames for take in motions.takes]):
        expression, full_pose = motions.expression[rows], motions.full_pose[rows]
        still = mesh.body.zero_pose(len(rows))
        stiff, _ = mesh.body(BodyPose(still.betas, expression, full_pose, still.transl), mesh.rows[mesh.stiff])
        scale, rotation, place = similarity(neutral[:, mesh.stiff].expand(len(rows), -1, -1), stiff)
        told = torch.cat([scale.log()[:, None], head_angles(rotation), place / size], 1)
        pose.append(told - told.mean(0))
        for part in rows.split(CHUNK):
            betas = still.betas[: len(part)]
            moved = offsets_of(mesh, betas, motions.expression[part], motions.full_pose[part])
            dyn.append(code.encode(moved))
    return MotionLatent(torch.cat(dyn), torch.cat(pose))


def named_motion(mesh: FaceMesh, identity: int, seconds: float) -> Float[Tensor, "T N 3"]:
    """Offsets of a named speaker's face over the first seconds of a performance: what the code is measured on."""
    names = mesh.body.expression_names
    frames = round(seconds * FPS)
    shown = perform(load_speech(identity).excerpt(0.0, seconds), frames, FPS, identity)
    betas = torch.tensor(IDENTITIES[identity].betas, dtype=torch.float32).expand(frames, -1)
    return offsets_of(mesh, betas, torch.from_numpy(shown.expression_matrix(names)), torch.from_numpy(shown.full_pose))


class MeshMotionData(L.LightningDataModule):
    """Serves faces to a mesh code's training: the batch of a step depends on the seed and the step alone."""

    def __init__(self, mesh: FaceMesh, motions: Motions, faces: int, seed: int, steps: int) -> None:
        super().__init__()
        self.mesh, self.motions, self.faces, self.seed, self.steps = mesh, motions, faces, seed, steps

    def train_dataloader(self) -> StepLoader[MeshBatch]:
        return StepLoader(lambda step: self.drawn(step, self.faces), self.steps)

    def drawn(self, number: int, count: int) -> MeshBatch:
        """As many faces; a step's by its number, others by negative numbers."""
        draw = np.random.default_rng([self.seed, number + 2**16])
        chosen = torch.from_numpy(draw.integers(len(self.motions), size=count))
        expression = self._odd(self.motions.expression[chosen], draw)
        full_pose = self.motions.full_pose[chosen]
        shape = (2, count, self.mesh.body.shapedirs.shape[2])
        betas = torch.from_numpy(draw.standard_normal(shape, np.float32)).clamp(-LARGEST, LARGEST)
        return MeshBatch(*(offsets_of(self.mesh, who, expression, full_pose) for who in betas))

    def _odd(self, expression: Float[Tensor, "B E"], draw: np.random.Generator) -> Float[Tensor, "B E"]:
        """Stronger or weaker, and some with actions that nobody shows while talking."""
        gain = draw.uniform(*GAIN, (len(expression), 1))
        on = (draw.random((len(expression), 1)) < ODD) & (draw.random(expression.shape) < ACTIONS)
        odd = np.where(on, draw.uniform(0, STRENGTH, expression.shape), 0)
        return (expression * torch.from_numpy(gain) + torch.from_numpy(odd)).float().clamp(0, 1)
