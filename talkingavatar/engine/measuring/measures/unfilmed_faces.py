"""Faces that nobody filmed: the avatar beside what is true of the same parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.config.expressions import Expressions, read_expressions
from talkingavatar.data.faces import FACE_JOINTS, Face, check_face, with_face
from talkingavatar.data.visible_mesh import VisibleMesh
from talkingavatar.engine.measuring.compared_pictures import on_background
from talkingavatar.engine.measuring.measure import Findings, Measure
from talkingavatar.engine.measuring.truth_above_render import TRUTH, Pair, strips
from talkingavatar.geometry.cameras import project
from talkingavatar.metrics.image import ImageMetrics, crop_slices
from talkingavatar.metrics.silhouette import Silhouettes, silhouettes
from talkingavatar.runtime.progress import track
from talkingavatar.splatting import to_bytes
from talkingavatar.types import BodyPose, Cameras, Rendering

PARTS = {"face": slice(0, 68), "mouth": slice(48, 68), "eyes": slice(36, 48)}  # of the landmarks
ROW = 8  # pairs of pictures
UNKNOWN = "no recording shows another face than it shows; the embedded speaker can be drawn with any"
CALM = Face("calm", {}, {})


@dataclass
class Kept:
    """What is collected of one strength."""

    images: ImageMetrics
    holes: list[float] = field(default_factory=list)  # shares
    spikes: list[float] = field(default_factory=list)

    def add(
        self, drawn: Float[Tensor, "H W 3"], alpha: Float[Tensor, "H W 1"], image: Float[Tensor, "H W 3"],
        matte: Float[Tensor, "H W 1"], boxes: dict[str, Float[ndarray, " 4"]],
    ) -> None:  # fmt: skip
        """A face as drawn, as it truly is, and where its parts are."""
        crops = {name: crop_slices(box, *image.shape[:2]) for name, box in boxes.items()}
        for name, crop in crops.items():
            self.images.measure(name, drawn[crop].clamp(0, 1), image[crop])
        self.against(silhouettes(alpha[..., 0], matte[..., 0], crops["face"]))

    def against(self, compared: Silhouettes) -> None:
        """A silhouette, as drawn and as it should be."""
        self.holes.append(compared.holes)
        self.spikes.append(compared.spikes)

    def means(self, strength: float) -> dict[str, float]:
        """By key; of another strength than 1 that is named in front."""
        ahead = _ahead(strength)
        found = {f"{ahead}expressions_{key}": value for key, value in self.images.means().items()}
        return found | {
            f"{ahead}expressions/holes_percent": 100 * float(np.mean(self.holes)),
            f"{ahead}expressions/spikes_percent": 100 * float(np.mean(self.spikes)),
        }


def _ahead(strength: float) -> str:
    """What keys of a strength begin with."""
    return "" if strength == 1 else f"at_{strength:g}_"


def faces_of(asked: Expressions) -> Iterator[tuple[float, Face]]:
    """Every state at every strength with the head in every position, with the strength."""
    for (name, state), strength, (head, turned) in product(asked.states.items(), asked.strengths, asked.heads.items()):
        actions = {action: strength * value for action, value in state.actions.items()}
        joints = {joint: [strength * angle for angle in angles] for joint, angles in state.joints.items()}
        yield strength, Face(f"{name} {strength:g}, {head}", actions, joints | turned)


class UnfilmedFaces(Measure):
    """Picture quality of face, mouth and eyes, torn holes and spikes, over `conf/evaluate/expression/default.yaml`.

    In the calmest held-out frame, under the condition `full` alone. Where nobody knows what such a face looks like,
    silhouettes alone are compared, with the body's own.
    """

    version = 3

    keys = ("expressions",)
    needs = ("avatar", "plain", "face")
    definitions: ClassVar = {
        "expressions": "faces of conf/evaluate/expression/default.yaml at full strength, head straight and turned, "
        "avatar and truth given the same parameters, the mean of the sound in trained frames what it hears; of a "
        "recording, which shows no other face than it shows, the body's outline stands for the truth's, and what the "
        "avatar covers with a calm face is no spike",
        "holes_percent": "share of the truth's silhouette in the face's box, 2 px within its outline, where the "
        "avatar's opacity is below 0.5; mean over faces",
        "spikes_percent": "pixels of the face's box 2 px outside the truth's outline where the avatar's opacity is "
        "above 0.5, as a share of the silhouette; mean over faces",
    }

    def finish(self, found: Findings, truth: Findings) -> Findings:
        if self.setting.options.expressions == ():
            return Findings()  # nobody asks for them
        if self.held.body.landmark_faces is None:
            return Findings(skipped={"expressions": "the body does not know its landmarks"})
        kept: dict[float, Kept] = {}
        pairs: dict[str, Pair] = {}
        for strength, face in self._faces():
            if strength not in kept:
                kept[strength] = Kept(ImageMetrics(self.setting.networks.family("lpips_")))
            pairs[face.name] = self._add(kept[strength], face)
        if self.setting.folder is not None:
            above = TRUTH if self._is_known else "the body's outline"
            strips(pairs, ROW, self.setting.folder / "expressions.png", above)
        seen = {key: value for strength in kept for key, value in kept[strength].means(strength).items()}
        unknown = [] if self._is_known else [f"{_ahead(at)}expressions_{part}" for at in kept for part in PARTS]
        return Findings(seen, dict.fromkeys(unknown, UNKNOWN))

    @cached_property
    def _is_known(self) -> bool:
        """Whether it is known what another face would look like."""
        return self.held.pictures.capture.imagined(self.frame, CALM) is not None

    @cached_property
    def frame(self) -> int:
        """The calmest of those held out."""
        return self.held.frames[self.held.calmest]

    def _faces(self) -> Iterator[tuple[float, Face]]:
        """With the strength of each.

        Raises:
            UserError: the body has no such action or joint.
        """
        body, faces = self.held.body, list(faces_of(read_expressions(self.setting.options.expressions)))
        for _, face in faces:
            check_face(face, body.expression_names, body.joint_names)
        for strength, face in track(faces, "unfilmed faces", len(faces), self.setting.progress):
            self.setting.check()
            yield strength, face

    def _add(self, kept: Kept, face: Face) -> Pair:
        pose, drawn = self._drawn(face)
        boxes = self._boxes(pose)
        crop = crop_slices(boxes["face"], *drawn.rgb.shape[1:3])
        if not self._is_known:
            vertices, _ = self.held.body(pose)
            outline, alpha = self._mesh.outline(vertices[0], self._camera), drawn.alpha[0, ..., 0].cpu()
            kept.against(silhouettes(alpha, outline, crop, torch.maximum(outline, self._calm(face))))
            return to_bytes((1 - outline[crop] / 2)[..., None].expand(-1, -1, 3)), to_bytes(drawn.rgb[0][crop])
        avatar = self.setting.avatar
        assert avatar is not None
        imagined = avatar.data.capture.imagined(self.frame, face)
        assert imagined is not None
        image, matte = on_background(avatar.data, *imagined)
        kept.add(drawn.rgb[0].cpu(), drawn.alpha[0].cpu(), image, matte, boxes)
        return to_bytes(image[crop]), to_bytes(drawn.rgb[0][crop])

    @torch.no_grad()
    def _drawn(self, face: Face) -> tuple[BodyPose, Rendering]:
        """The avatar with a face, and its pose."""
        avatar, held = self.setting.avatar, self.held
        assert avatar is not None
        data, method = avatar.data, avatar.method
        pose = with_face(self._pose, face, held.body.expression_names, held.body.joint_names)
        signal = method.reposed(data.unsaid(self.frame), pose)
        return pose, method.render(method.drive(signal.to(method.device)), self._camera.to(method.device))

    @cached_property
    def _camera(self) -> Cameras:
        return self.held.pictures.capture.cameras([self.frame])

    @cached_property
    def _mesh(self) -> VisibleMesh:
        return VisibleMesh(self.held.body.faces)

    def _calm(self, face: Face) -> Float[Tensor, "H W"]:
        """Where the avatar is with a calm face, the head as in this one."""
        head = {name: turned for name, turned in face.joints.items() if name not in FACE_JOINTS}
        return self._drawn(replace(CALM, joints=head))[1].alpha[0, ..., 0].cpu()

    @cached_property
    def _pose(self) -> BodyPose:
        """True where it is known, for the truth is drawn in that."""
        return self.held.pose[[self.held.calmest]]

    def _boxes(self, pose: BodyPose) -> dict[str, Float[ndarray, " 4"]]:
        """Of the parts of the face as it is posed, pixels."""
        vertices, _ = self.held.body(pose)
        marks = project(self.held.body.landmarks(vertices), self._camera)[0].numpy()
        return {name: np.concatenate([marks[part].min(0), marks[part].max(0)]) for name, part in PARTS.items()}
