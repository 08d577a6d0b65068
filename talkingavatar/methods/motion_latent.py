"""VASA-3D's head: Gaussians on a rig that a 2D motion latent drives, and what the latent does beyond it (methods C).

Two layers are drawn and learned from: `base`, the Gaussians where the mapped rig carries them (G'), and `shown`, with
what the latent changes of each (G''). Published is a head on FLAME's triangles; here the Gaussians stay on the skin as
those of the other families do, so that a turned head is whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import cast, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from talkingavatar.config.family_options import MotionLatent as Options
from talkingavatar.config.options import read_options
from talkingavatar.config.rows import ROWS
from talkingavatar.config.schema import FitConfig
from talkingavatar.data.inputs import reposed
from talkingavatar.data.portrait.rig_motion import FittedMotion, RigMotion
from talkingavatar.errors import UserError
from talkingavatar.losses import sharpened
from talkingavatar.methods.aside import swung
from talkingavatar.methods.base import SHOWN
from talkingavatar.methods.context import MethodContext
from talkingavatar.methods.triangle_bound import TriangleBound
from talkingavatar.networks.baked import Latents, Listener, Residual
from talkingavatar.networks.kept import Chosen, Kept
from talkingavatar.networks.latent_mapper import LatentMapper, Pairs, principal_steps
from talkingavatar.networks.latent_residual import ATTRIBUTES, BASIS, OWN, LatentResidual, by_attribute
from talkingavatar.networks.mesh_code import DYN, POSE
from talkingavatar.networks.patch_critic import PatchCritic
from talkingavatar.networks.residual import RestBox, changed
from talkingavatar.training.critic import Critic
from talkingavatar.training.likeness import Likeness
from talkingavatar.types import Batch, BodyPose, Cameras, DrivingSignal, Gaussians, Layers, Rendering, Shot

BASE, SIDE, SIDE_BASE = "base", "side", "side_base"
OF_BASE = ("base_l1", "base_dssim", "base_perceptual")  # terms of the base's front
SIDES = (35.0, 55.0)  # degrees to either side at which both layers are to look alike (methods C.4)
AXES, PLACES, REACH = 8, 9, 2.0  # of the latent, that a baked avatar knows; REACH in standard deviations
HELD = ("neck", "head")  # joints that the pose numbers turn, beside the root


@final
class MotionLatent(TriangleBound):
    """Works with any body whose face a code is read off; `signal.latent` where the capture has one."""

    layers = (BASE, SHOWN)
    group_names, term_names = ROWS["method"]["motion_latent"].groups, ROWS["method"]["motion_latent"].terms

    still: Tensor
    face_joints: Tensor  # jaw and eyes
    held_joints: Tensor  # root, neck and head
    on_head: Tensor

    def __init__(self, context: MethodContext) -> None:
        self.options = read_options(Options(), context.config.method.options)
        super().__init__(context, self.options, self.options.deform == "skin", self.options.behind)
        body, pose = self.body, context.pose
        known, head = pose[context.train_frames], body.joint_names.index("head")
        face_joints = torch.tensor([j for j, parent in enumerate(body.parents) if parent == head])
        held_joints = torch.tensor([j for j, name in enumerate(body.joint_names) if j == 0 or name in HELD])
        self.motion = self._motion(context, [*face_joints.tolist(), *held_joints.tolist()])
        codes = self.motion(known) if context.latent is None else context.latent[context.train_frames]
        self.register_buffer("face_joints", face_joints, persistent=False)
        self.register_buffer("held_joints", held_joints, persistent=False)
        self.register_buffer("still", known.full_pose.mean(0, keepdim=True))
        warm = self.options.mapper == "warm"
        moves = self._single_moves(known) if warm else None
        self.face_mapper = LatentMapper(codes[:, : self.dyn], self._face_values(known), warm, moves)
        self.head_mapper = LatentMapper(codes[:, self.dyn :], self._head_values(known), warm)
        self.shape = nn.Parameter(torch.zeros_like(self.betas))
        self.box = RestBox(self.figure.resting(self.betas[0]))
        on_head = torch.isin(self.figure.faces, body.regions["head"]).all(1)
        self.register_buffer("on_head", on_head, persistent=False)
        self.residuals = nn.ModuleDict()
        if self.options.residual != "none":
            self.gaussians["own"] = nn.Parameter(1e-2 * torch.randn(len(self.figure.faces), OWN))
            basis = self.options.residual == "basis"
            self.residuals["face"] = LatentResidual(codes[:, : self.dyn], basis)
            self.residuals["neck"] = LatentResidual(codes[:, self.dyn :], basis)
        self.likeness = Likeness(self.options.perceptual, self.options.patch)
        self.patches = PatchCritic() if self._weight_of("adversarial") else None
        self._on_head, self._below = Chosen(), Chosen()
        self._told = {name: Kept[tuple[Tensor, Tensor]]() for name in self.residuals}
        self._order, self._changes = Kept[Tensor](), torch.zeros(0)  # by the last latent
        self._judged: list[tuple[Tensor, Tensor]] = []

    @classmethod
    def check(cls, config: FitConfig) -> None:
        super().check(config)
        if (row := config.loss.terms.get("sds")) is not None and row.weight > 0:
            raise UserError(
                "loss.terms.sds.weight", str(row.weight), "0: Stable Diffusion 2.1, which it needs, is not supported",
                "leave it 0; the views aside (consistency, open) hold the sides",
            )  # fmt: skip

    @property
    def dyn(self) -> int:
        """Numbers of a latent that are the face's; the others are the head's."""
        return self.motion.dyn

    # -- what the base asks for ----------------------------------------------------------------------------------------

    def deform(self, signal: DrivingSignal) -> Layers:
        """While it is trained without the base in steps that compare none of it."""
        latent, raw = self.latent_of(signal), dict(self.gaussians)
        pose = self._mapped(latent, self.frame_row(signal))
        wanted = not self.training or self.counts("consistency") or self._sees_base()
        base = {BASE: self.in_pose(pose, raw)} if wanted else {}
        return base | {SHOWN: self.in_pose(pose, self._changed(raw, latent[0]))}

    def drive(self, signal: DrivingSignal) -> Gaussians:
        """Without the layer that nobody sees."""
        latent = self.latent_of(signal)
        shown = self._changed(dict(self.gaussians), latent[0])
        return self.in_pose(self._mapped(latent, self.frame_row(signal)), shown)

    def latent_of(self, signal: DrivingSignal) -> Float[Tensor, "B D"]:
        """The signal's, or what is read off its pose where it has none."""
        return self.motion(replace(signal.pose, betas=self.betas)) if signal.latent is None else signal.latent

    def refined_pose(self, signal: DrivingSignal) -> BodyPose:
        """What the latent is mapped to, with what has been learned about this frame."""
        return self._mapped(self.latent_of(signal), self.frame_row(signal))

    def _mapped(self, latent: Float[Tensor, "B D"], row: int) -> BodyPose:
        """`row`: of the frame among those trained on, or -1."""
        face, head = self.face_mapper(latent[:, : self.dyn]), self.head_mapper(latent[:, self.dyn :])
        count, expressions = len(latent), face.shape[1] - 3 * len(self.face_joints)
        full_pose = self.still.repeat(count, 1, 1)
        full_pose[:, self.face_joints] = face[:, expressions:].unflatten(1, (-1, 3))
        full_pose[:, self.held_joints] = head[:, :-3].unflatten(1, (-1, 3))
        betas = self.refined_betas().expand(count, -1)
        pose = BodyPose(betas, face[:, :expressions], full_pose, head[:, -3:])
        return pose if row < 0 else self.refinement(pose, row)

    def reposed(self, signal: DrivingSignal, pose: BodyPose) -> DrivingSignal:
        """A recorded latent would tell of the recorded pose."""
        return reposed(signal, pose)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        own: dict[str, list[nn.Parameter]] = {} if self.residuals else {"own": []}
        further = {
            "mapper": [*self.face_mapper.parameters(), *self.head_mapper.parameters()],
            "shape": [self.shape],
            "residual": list(self.residuals.parameters()),
            "critic": [] if self.patches is None else list(self.patches.parameters()),
        }
        return super().parameter_groups() | own | further

    def shots(self, batch: Batch) -> dict[str, Shot]:
        shots = super().shots(batch)
        if self._sees_base():
            shots[BASE] = Shot(BASE, batch.cameras, batch.background, grows=False)
        if self.counts("consistency"):
            side = self._side(batch)
            shots[SIDE] = Shot(SHOWN, side, batch.background, grows=False)
            shots[SIDE_BASE] = Shot(BASE, side, batch.background, grows=False, frozen=True)
        return shots

    def terms(self, drawn: dict[str, Rendering], batch: Batch) -> dict[str, Float[Tensor, "..."]]:
        terms = super().terms(drawn, batch)
        shown, weight = drawn[SHOWN].rgb, batch.weight
        if BASE in drawn:
            terms |= {f"base_{name}": values for name, values in self.pixel_terms(drawn[BASE], batch).items()}
        if self.counts("perceptual"):
            terms["perceptual"] = self.likeness(shown, batch.image, weight)
        if self.counts("base_perceptual"):
            terms["base_perceptual"] = self.likeness(drawn[BASE].rgb, batch.image, weight)
        if self.counts("sharp"):
            terms["sharp"] = self.likeness(shown, sharpened(batch.image), weight)
        if SIDE in drawn:
            terms["consistency"] = self.likeness(drawn[SIDE].rgb, drawn[SIDE_BASE].rgb)
        if self.residuals and self.counts("residual"):
            terms["residual"] = self._changes.square()
        if self.patches is not None and self.counts("adversarial"):
            terms["adversarial"] = self.patches.deceived(shown)
            self._judged.append((shown.detach(), batch.image))
        return terms

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        self._judged.clear()

    def critic(self) -> Critic | None:
        return None if self.patches is None else Critic(("critic",), self._critic_loss)

    # -- baking --------------------------------------------------------------------------------------------------------

    def refined_betas(self) -> Float[Tensor, "1 S"]:
        return self.betas + self.shape

    def baked_residual(
        self, frames: DrivingSignal
    ) -> tuple[Residual | Listener | None, Callable[[DrivingSignal], Float[Tensor, "T R"]]]:
        """The basis itself: the face's directions for the head's Gaussians, the neck's for the others.

        Raises:
            UserError: it is a network, of which there is no basis.
        """
        if not self.residuals:
            return super().baked_residual(frames)
        if self.options.residual != "basis":
            found, expected = self.options.residual, "basis or none: a network has no directions to bake"
            raise UserError("method.options.residual", found, expected, "fit with method.options.residual=basis")
        places, own = self._places(dict(self.gaussians)), self.gaussians["own"]
        on_head = self.on_head[self.carried_binding]
        basis = own.new_zeros(len(own), sum(ATTRIBUTES.values()), BASIS)
        for name, rows in (("face", on_head), ("neck", ~on_head)):
            basis[rows] = cast(LatentResidual, self.residuals[name]).directions(places[rows], own[rows])
        rows = torch.arange(len(own), device=own.device)
        first = (BASIS * ~on_head).int()
        columns = torch.arange(basis.shape[1], dtype=torch.int32, device=own.device)
        return Residual(self.rested(basis, rows), rows.int(), columns, first), self._along

    def _along(self, signal: DrivingSignal) -> Float[Tensor, "T R"]:
        return self._amounts(self.latent_of(signal))

    def _amounts(self, latent: Float[Tensor, "T D"]) -> Float[Tensor, "T R"]:
        """How far along the residual's directions; none of an avatar without."""
        if not self.residuals:
            return latent[:, :0]
        face, neck = latent[:, : self.dyn], latent[:, self.dyn :]
        told = [
            cast(LatentResidual, self.residuals[name]).along(code) for name, code in (("face", face), ("neck", neck))
        ]
        return torch.cat(told, 1)

    def baked_latents(self, frames: DrivingSignal) -> Latents:
        """Principal axes of the face's numbers, the head held as it is on average."""
        latent = self.latent_of(frames)
        mean, steps = latent.mean(0), principal_steps(latent[:, : self.dyn], AXES)
        places = torch.linspace(-REACH, REACH, PLACES, device=latent.device)
        along = mean.repeat(len(steps), PLACES, 1)
        along[..., : self.dyn] += places[:, None] * steps[:, None]
        pose = self._mapped(along.flatten(0, 1), -1)
        values = pose.full_pose, pose.expression, self._amounts(along.flatten(0, 1))
        turns, expression, residual = (each.unflatten(0, along.shape[:2]) for each in values)
        middle = PLACES // 2
        return Latents(places, *(each - each[:, middle, None] for each in (turns, expression, residual)))

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _sees_base(self) -> bool:
        return any(self.counts(term) for term in OF_BASE)

    def _weight_of(self, term: str) -> float:
        row = self.config.loss.terms.get(term)
        return 0.0 if row is None else row.weight

    def _motion(self, context: MethodContext, joints: list[int]) -> RigMotion | FittedMotion:
        """What reads a latent of the capture's kind off a pose."""
        latents, frames = context.latent, context.train_frames
        if latents is not None and latents.shape[1] != DYN + POSE:
            return FittedMotion(context.pose[frames], latents[frames], joints)
        motion = RigMotion(self.body, self.betas, context.look(frames[:1]).cameras.viewmats[0])
        motion.lie(context.pose, None if latents is None else latents[:, -3:])
        return motion

    def _single_moves(self, known: BodyPose) -> Pairs | None:
        """What the face's numbers tell of each part of the rig alone, where they are read off the rig."""
        if not isinstance(self.motion, RigMotion):
            return None
        full_pose = torch.zeros_like(known.full_pose[:1])
        full_pose[:, self.held_joints] = self.still[:, self.held_joints]
        rest = BodyPose(self.betas, torch.zeros_like(known.expression[:1]), full_pose, known.transl[:1])
        codes, poses = self.motion.single_moves(rest)
        return codes, self._face_values(poses)

    def _face_values(self, pose: BodyPose) -> Float[Tensor, "T P"]:
        return torch.cat([pose.expression, pose.full_pose[:, self.face_joints].flatten(1)], 1)

    def _head_values(self, pose: BodyPose) -> Float[Tensor, "T P"]:
        return torch.cat([pose.full_pose[:, self.held_joints].flatten(1), pose.transl], 1)

    def _expressed(self, pose: BodyPose) -> Float[Tensor, "W 3"]:
        """With what has been learned of the person's shape."""
        return super()._expressed(pose) + self._all(self.body.shapedirs @ self.shape[0])

    def _changed(self, raw: dict[str, Tensor], latent: Float[Tensor, " D"]) -> dict[str, Tensor]:
        """The raw attributes with what the latent does to them beyond the rig."""
        if not self.residuals:
            return raw
        binding = self.carried_binding
        places = self._places(raw)
        face = self._on_head.get(lambda: self.on_head[binding], binding)
        below = self._below.get(lambda: ~self.on_head[binding], binding)
        made = []
        for name, rows, code in (("face", face, latent[: self.dyn]), ("neck", below, latent[self.dyn :])):
            chosen = partial(_rows_of, places, raw["own"], rows)
            where, own = self._told[name].get(chosen, places, raw["own"], rows)
            made.append(self.residuals[name](where, own, code))
        order = self._order.get(lambda: torch.cat([face, below]).argsort(), face, below, graph=False)
        self._changes = torch.cat(made)[order]
        return changed(raw, by_attribute(self._changes))

    def _places(self, raw: dict[str, Tensor]) -> Float[Tensor, "N 3"]:
        """Where the Gaussians lie at rest, in [-1, 1] of the figure's box."""
        return self.box.kept(lambda: self.at_rest(raw).means, raw["means"], self.carried_binding)

    def _side(self, batch: Batch) -> Cameras:
        """A view that no frame has, another one in each step, with coarser pixels."""
        turn = self.step // max(1, self.config.loss.terms["consistency"].every)
        return swung(batch.cameras, batch.signal.pose.transl[0] + self.centre, turn, *SIDES)

    def _critic_loss(self) -> Float[Tensor, ""]:
        assert self.patches is not None
        losses = [self.patches.loss(made, real) for made, real in self._judged]
        return torch.stack(losses).mean()


def _rows_of(
    places: Float[Tensor, "N 3"], own: Float[Tensor, "N O"], rows: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n O"]]:
    return places[rows], own[rows]
