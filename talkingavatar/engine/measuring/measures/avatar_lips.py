"""How far an avatar's lips open: by how much of the mouth's inside is seen between them."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.body.parts import MOUTH
from talkingavatar.data.visible_mesh import VisibleMesh
from talkingavatar.engine.measuring.measure import Findings, Measure, Picture, Setting
from talkingavatar.geometry.cameras import project
from talkingavatar.geometry.spherical_harmonics import rgb_to_sh
from talkingavatar.types import Batch, BodyPose, Cameras, DrivingSignal

MARGIN = 2  # pixels round the lips
LIPS = slice(48, 68)  # of the landmarks


class AvatarLips(Measure):
    """What is seen of the mouth's inside, of the avatar as it is driven and of the true body, frame by frame.

    Gaussians are told apart by their parent vertices; how the avatar is coloured does not matter.
    """

    keys = ("lips",)
    needs = ("frames", "avatar")
    definitions: ClassVar = {
        "lips": "opening of the lips over the held-out frames, as pixels of the mouth's inside that are seen, against "
        "the true body's: correlation (r), ratio of the standard deviations (extent), mean distance (px)",
    }

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        body = self.held.body
        self.inside = _inside(body)
        self.mesh = VisibleMesh(body.faces)
        self.found: list[tuple[float, float]] = []  # of the avatar and of the body

    def add(self, i: int, shown: Picture | None, truth: Batch | None, signal: DrivingSignal) -> None:
        avatar, true = self.setting.avatar, self.held.truth
        if self._why_not() or avatar is None or true is None:
            return
        method = avatar.method
        parents = method.vertices_of()
        assert parents is not None
        camera = _close(self.held.body, true[[i]], self.held.pictures.capture.cameras([self.held.frames[i]]))
        gaussians = method.drive(signal.to(method.device))
        inner = self.inside.to(parents.device)[parents.clamp_min(0)] & (parents >= 0)
        labels = rgb_to_sh(inner.float()[:, None].expand(-1, 3))[:, None]
        black = torch.zeros(3, device=method.device)
        drawn = method.render(replace(gaussians, sh=labels), camera.to(method.device), black).rgb[0, ..., 0]
        self.found.append((float((drawn > 0.5).sum()), self._true(true[[i]], camera)))

    def finish(self, found: Findings, truth: Findings) -> Findings:
        if why := self._why_not():
            return Findings(skipped={"lips": why})
        ours, true = np.array(self.found).T
        spread, moves = ours.std(), true.std()
        return Findings(
            {
                "lips/r": float(np.corrcoef(ours, true)[0, 1]) if spread > 0 and moves > 0 else float("nan"),
                "lips/extent": float(spread / moves) if moves > 0 else float("nan"),
                "lips/px": float(np.abs(ours - true).mean()),
            }
        )

    def _why_not(self) -> str:
        avatar = self.setting.avatar
        if self.held.truth is None:
            return "the capture does not know its true parameters"
        if not self.inside.any() or self.held.body.landmark_faces is None:
            return "the body's mouth has no inside, or no landmarks"
        return "" if avatar and avatar.method.vertices_of() is not None else "the avatar does not know its body"

    def _true(self, pose: BodyPose, camera: Cameras) -> float:
        """Pixels of the body's inside."""
        vertices, _ = self.held.body(pose)
        faces, _ = self.mesh.before(vertices[0], camera)
        inner = self.inside[self.held.body.faces].all(1).numpy()
        return float((inner[faces] & (faces >= 0)).sum())


def _inside(body: Body) -> Bool[Tensor, " V"]:
    """Vertices of the mouth's inside."""
    inside = torch.zeros(len(body.v_template), dtype=torch.bool)
    for name in MOUTH:
        inside[body.regions[name]] = True
    return inside


def _close(body: Body, pose: BodyPose, camera: Cameras) -> Cameras:
    """The camera's view of the lips alone."""
    marks: Float[ndarray, "20 2"] = project(body.posed_landmarks(pose), camera)[0, LIPS].numpy()
    low, high = np.floor(marks.min(0)) - MARGIN, np.ceil(marks.max(0)) + MARGIN
    Ks = camera.Ks.clone()
    Ks[:, :2, 2] -= torch.from_numpy(low).float()
    width, height = (high - low).astype(int).tolist()
    return Cameras(camera.viewmats, Ks, width, height)
