"""A baseline in the style of GaussianTalker (Cho et al. 2024): sound deforms the Gaussians, no rig moves the face.

The same Gaussians and the same bust as the rigged head's. Head and neck carry them rigidly; jaw, eyes and expression
of the tracked body are not used, but for the actions of the eyes, which the published method is given too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from talkingavatar.config.family_options import AudioDeformed as Options
from talkingavatar.config.options import read_options
from talkingavatar.config.rows import ROWS
from talkingavatar.config.schema import FitConfig
from talkingavatar.geometry.triangles import triangle_frames
from talkingavatar.methods.base import SHOWN
from talkingavatar.methods.context import MethodContext
from talkingavatar.methods.triangle_bound import TriangleBound
from talkingavatar.networks.kept import Chosen, Kept
from talkingavatar.networks.spatial_audio import SpatialAudioDeformation
from talkingavatar.types import BodyPose, DrivingSignal, Layers

EYES = "eye"  # how names of the eyes' actions begin


@final
class AudioDeformed(TriangleBound):
    """What sound does to a Gaussian depends on where it lies; nothing ties neighbours together."""

    group_names, term_names = ROWS["method"]["audio_deformed"].groups, ROWS["method"]["audio_deformed"].terms

    canonical_rotation: Tensor
    canonical_scale: Tensor
    canonical_centre: Tensor

    def __init__(self, context: MethodContext) -> None:
        options = read_options(Options(), context.config.method.options)
        super().__init__(context, options)
        body = self.body
        rigid = [name not in ("jaw",) and EYES not in name for name in body.joint_names]
        self.register_buffer("rigid", torch.tensor(rigid)[:, None], persistent=False)
        eyes = [i for i, name in enumerate(body.expression_names) if name.startswith(EYES)]
        eyes = eyes or list(range(len(body.expression_names)))
        self.register_buffer("eyes", torch.tensor(eyes), persistent=False)
        at_rest = self.figure(_at_rest(context.pose[context.train_frames[:1]]))
        canonical = triangle_frames(at_rest[self.figure.faces])
        for part in ("rotation", "scale", "centre"):
            self.register_buffer(f"canonical_{part}", getattr(canonical, part).detach(), persistent=False)
        head = self.canonical_centre[: len(body.faces)]
        low, high = head.amin(0) - options.margin, head.amax(0) + options.margin
        self.register_buffer("on_head", torch.arange(len(self.figure.faces)) < len(body.faces), persistent=False)
        self._head, self._chosen = Kept[tuple[Tensor, Tensor]](), Chosen()
        self.deformation = SpatialAudioDeformation(context.audio_channels, len(self.eyes), low, high)

    rigid: Tensor
    on_head: Tensor
    eyes: Tensor

    @classmethod
    def check(cls, config: FitConfig) -> None:
        read_options(Options(), config.method.options)
        super().check(config)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        planes = list(self.deformation.planes.parameters())
        others = [p for name, p in self.deformation.named_parameters() if not name.startswith("planes.")]
        groups = super().parameter_groups()
        groups.pop("expression")
        return groups | {"deformation": others, "planes": planes}

    def deform(self, signal: DrivingSignal) -> Layers:
        pose, raw = self.refined_pose(signal), dict(self.gaussians)
        if signal.audio is not None and self.started("deformation"):
            raw = self._listen(raw, signal.audio[0], pose.expression[0, self.eyes])
        return {SHOWN: self.placed(self._without_face(pose), raw)}

    def _listen(
        self, raw: dict[str, Tensor], windows: Float[Tensor, "8 16 C"], eyes: Float[Tensor, " E"]
    ) -> dict[str, Tensor]:
        """The raw attributes with what sound and eyes do to them."""
        binding = self.carried_binding
        chosen, canonical = self._head.get(self._head_gaussians, raw["means"], binding)
        offsets = self.deformation(canonical, windows, eyes)
        # Offsets are made where the head is at rest, and turned with it.
        at = binding[chosen]
        turned = (self.canonical_rotation[at].mT @ offsets["means"][..., None])[..., 0]
        offsets["means"] = turned / self.canonical_scale[at, None]
        offsets["opacities"] = offsets["opacities"][:, 0]
        # Of the spherical harmonics, only the constant one changes.
        colours = torch.zeros_like(raw["sh"][:, 0]).index_add(0, chosen, offsets.pop("sh"))
        heard = {name: raw[name].index_add(0, chosen, change) for name, change in offsets.items()}
        return heard | {"sh": torch.cat([raw["sh"][:, :1] + colours[:, None], raw["sh"][:, 1:]], 1)}

    def _head_gaussians(self) -> tuple[Int[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Those on the head, and where they lie on the figure at rest; no gradient goes through the planes to them."""
        binding = self.carried_binding
        chosen = self._chosen.get(lambda: self.on_head[binding], binding)
        at, local = binding[chosen], self.gaussians["means"].detach()[chosen]
        turned = (self.canonical_rotation[at] @ local[..., None])[..., 0]
        return chosen, self.canonical_scale[at, None] * turned + self.canonical_centre[at]

    def _without_face(self, pose: BodyPose) -> BodyPose:
        """The pose without expression, jaw and eyes."""
        return replace(pose, expression=torch.zeros_like(pose.expression), full_pose=pose.full_pose * self.rigid)


def _at_rest(pose: BodyPose) -> BodyPose:
    """The shape of a pose, at rest."""
    return replace(
        pose,
        expression=torch.zeros_like(pose.expression),
        full_pose=torch.zeros_like(pose.full_pose),
        transl=torch.zeros_like(pose.transl),
    )
