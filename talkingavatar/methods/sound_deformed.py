"""What heads share whose faces sound deforms and no rig moves.

The same Gaussians and the same bust as the rigged head's. Head and neck carry them rigidly; jaw, eyes and expression
of the tracked body move nothing. What a network does to a Gaussian depends on where it lies on the figure at rest.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from talkingavatar.config.family_options import SoundDeformed as Options
from talkingavatar.geometry.triangles import triangle_frames
from talkingavatar.methods.baking import Baking, not_baked
from talkingavatar.methods.base import SHOWN
from talkingavatar.methods.context import MethodContext
from talkingavatar.methods.triangle_bound import TriangleBound
from talkingavatar.networks.kept import Chosen, Kept
from talkingavatar.types import BodyPose, DrivingSignal, Layers

EYES = "eye"  # how names of the eyes' joints and actions begin


class SoundDeformed(TriangleBound):
    """Nothing ties neighbours together but the field that moves them. A family gives `deformation` and asks it."""

    deformation: nn.Module  # what learns to hear; its groups are `planes`, for hash planes, and `deformation`

    rigid: Tensor
    on_head: Tensor
    canonical_rotation: Tensor
    canonical_scale: Tensor
    canonical_centre: Tensor

    def __init__(self, context: MethodContext, options: Options) -> None:
        super().__init__(context, options)
        body = self.body
        rigid = [name != "jaw" and EYES not in name for name in body.joint_names]
        self.register_buffer("rigid", torch.tensor(rigid)[:, None], persistent=False)
        at_rest = self.figure(_at_rest(context.pose[context.train_frames[:1]]))
        canonical = triangle_frames(at_rest[self.figure.faces])
        for part in ("rotation", "scale", "centre"):
            self.register_buffer(f"canonical_{part}", getattr(canonical, part).detach(), persistent=False)
        self.register_buffer("on_head", torch.arange(len(self.figure.faces)) < len(body.faces), persistent=False)
        head = self.canonical_centre[: len(body.faces)]
        self.box = head.amin(0) - options.margin, head.amax(0) + options.margin  # metres, that fills the planes

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        groups = super().parameter_groups()
        groups.pop("expression")
        named = list(self.deformation.named_parameters())
        for group, planes in (("deformation", False), ("planes", True)):
            groups[group] = [parameter for name, parameter in named if ("planes." in name) == planes]
        return groups

    def deform(self, signal: DrivingSignal) -> Layers:
        raw = dict(self.gaussians)
        if signal.audio is not None and self.started("deformation"):
            raw = self.heard(raw, signal, signal.audio[0])
        return {SHOWN: self.placed(self._without_face(self.refined_pose(signal)), raw)}

    @abstractmethod
    def heard(
        self, raw: dict[str, Tensor], signal: DrivingSignal, windows: Float[Tensor, "8 16 C"]
    ) -> dict[str, Tensor]:
        """The raw attributes with what one frame's sound does to them."""

    def bake(self, frames: DrivingSignal) -> Baking:
        raise not_baked(self.config.method.name)

    def local(self, offsets: Float[Tensor, "n 3"], chosen: Int[Tensor, " n"]) -> Float[Tensor, "n 3"]:
        """Offsets of some Gaussians' means where the head is at rest, metres, in their triangles, turned with those."""
        at = self.carried_binding[chosen]
        turned = (self.canonical_rotation[at].mT @ offsets[..., None])[..., 0]
        return turned / self.canonical_scale[at, None]

    def _without_face(self, pose: BodyPose) -> BodyPose:
        """The pose without expression, jaw and eyes."""
        return replace(pose, expression=torch.zeros_like(pose.expression), full_pose=pose.full_pose * self.rigid)


class Lying:
    """The Gaussians on some of a head's triangles, and where these lie on the figure at rest."""

    def __init__(self) -> None:
        self._chosen, self._places = Chosen(), Kept[tuple[Tensor, Tensor]]()

    def rows(self, head: SoundDeformed, triangles: Bool[Tensor, " F"]) -> Int[Tensor, " n"]:
        """Their numbers alone."""
        binding = head.carried_binding
        return self._chosen.get(lambda: triangles[binding], binding)

    def of(self, head: SoundDeformed, triangles: Bool[Tensor, " F"]) -> tuple[Int[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Numbers and canonical means, metres; no gradient goes through a network's planes to these."""
        binding, means = head.carried_binding, head.gaussians["means"]

        def found() -> tuple[Tensor, Tensor]:
            chosen = self.rows(head, triangles)
            at, local = binding[chosen], means.detach()[chosen]
            turned = (head.canonical_rotation[at] @ local[..., None])[..., 0]
            return chosen, head.canonical_scale[at, None] * turned + head.canonical_centre[at]

        return self._places.get(found, means, binding)


def _at_rest(pose: BodyPose) -> BodyPose:
    """The shape of a pose, at rest."""
    return replace(
        pose,
        expression=torch.zeros_like(pose.expression),
        full_pose=torch.zeros_like(pose.full_pose),
        transl=torch.zeros_like(pose.transl),
    )
