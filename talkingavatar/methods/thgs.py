"""THGS: a full-body talking avatar from monocular video (CGF 2025, doi 10.1111/cgf.15282)."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any, cast, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from talkingavatar.body.mesh_geometry import bounding_box, mean_incident_area, skinning_grid, vertex_normals
from talkingavatar.body.models import Body
from talkingavatar.config.family_options import Thgs
from talkingavatar.config.options import read_options
from talkingavatar.config.rows import ROWS
from talkingavatar.config.schema import FitConfig
from talkingavatar.geometry.rotations import matrix_to_quat, third_axis
from talkingavatar.geometry.spherical_harmonics import rgb_to_sh
from talkingavatar.losses import beyond_tilt, skin_binding, vertex_binding
from talkingavatar.methods.aside import EVERY, aside, openness
from talkingavatar.methods.base import SHOWN, Method, MethodContext
from talkingavatar.methods.colours import completed, parts_of, seen_colours, some_frames
from talkingavatar.methods.dressing import dress, dressed
from talkingavatar.methods.unseen import fill_unseen
from talkingavatar.networks.footing import Footing
from talkingavatar.networks.kept import Chosen, Kept
from talkingavatar.networks.leb import LearnableExpressionBlendshapes, Norm, excited
from talkingavatar.networks.placing import Local, Offsets, place
from talkingavatar.networks.pose_refinement import PoseRefinement
from talkingavatar.networks.saam import SpatialAudioAttention
from talkingavatar.networks.skin_surface import SkinGradient, SkinSurface, carried
from talkingavatar.networks.skinning import SkinningField, SparseWeights
from talkingavatar.types import Batch, BodyPose, Cameras, DrivingSignal, Gaussians, Layers, Rendering, Shot

# The parameter groups behind each switch.
PARTS = {
    "leb": ("leb",),
    "saam": ("saam", "saam_planes", "saam_attention"),
    "joint": ("skinning", "pose", "expression"),
}

ASIDE = "aside"
SOME, INSET = 2, 3e-3  # every so manieth vertex is looked at from aside, so many metres below the surface
WALK = 50  # steps after which each Gaussian looks for the triangle that is nearest to it now
COVER = 0.6  # of the spacing of vertices: the standard deviation of a Gaussian that covers its place
FACED = 16  # frames that tell whether a surfel ever faces the camera
AWAY = 0.3  # cosine between a surfel's normal and the line of sight above which it is not drawn
TURNS = 4  # steps in which every Gaussian is held to the skin once
LEAST_REACH, LOOSE, INNER_REACH = 2e-3, 3e-2, 1e-3  # metres: of a face's skin, of hair and clothes, of eyes and teeth
INNER = ("left_eye", "right_eye", "teeth_upper", "teeth_lower", "tongue")
CROSSED = 100  # steps of a GPU after which it is seen anew which Gaussians are in the box round the teeth
SKINNED = 0.05  # metres from the template within which the skinning grid has nodes of its own


@final
class THGS(Method):
    """Gaussians on SMPL-X vertices, moved by LEB, SAAM and a learned skinning grid.

    Canonical centre (before skinning): mu + B_S(beta)[parent] + B_E(psi)[parent] + B_P(theta)[parent] + SAAM(mu, A).
    Per-vertex blendshapes are read through the parent vertex (`deform: centre`), or where the Gaussian stands in a
    triangle of the skin, which then also turns and stretches it (`deform: skin`, ours).
    """

    group_names, term_names = ROWS["method"]["thgs"].groups, ROWS["method"]["thgs"].terms

    carried_parent: Tensor
    head: Tensor
    mouth_low: Tensor
    mouth_high: Tensor
    shape_offset: Tensor
    carried_face: Tensor
    reach: Tensor
    moving_face: Tensor
    open_sided: Tensor
    some_vertices: Tensor
    inset: Tensor
    centre: Tensor

    def __init__(self, context: MethodContext) -> None:
        super().__init__(context)
        self.options = read_options(Thgs(), self.config.method.options)
        body = self.body
        self.register_buffer("carried_parent", torch.arange(len(body.v_template)))
        worn = dressed(context, body) if self.options.dressed else torch.zeros(len(body.v_template))
        rest = dress(body.v_template, body.faces, worn)
        self.gaussians = self._initial_gaussians(rest, worn)
        head = torch.zeros(len(body.v_template), dtype=torch.bool)
        head[body.regions["head"]] = True
        self.register_buffer("head", head, persistent=False)
        self.register_buffer("shape_offset", body.shapedirs @ context.pose.betas[0], persistent=False)
        # The grid is looked up at shaped positions (eq. 6), so it is filled from the shaped template.
        shaped = body.v_template + self.shape_offset
        grid = skinning_grid(shaped, body.weights, band=SKINNED)
        self.skinning = SkinningField.from_grid(grid.weights, grid.lower, grid.upper)
        self.leb = LearnableExpressionBlendshapes(
            body.expressiondirs, self.head, excited(context.pose.expression[context.train_frames])
        )
        teeth = body.v_template[torch.cat([body.regions["teeth_upper"], body.regions["teeth_lower"]])]
        # 64 cells over a T-pose are 3 cm wide: lips, eyelids and fingers share them. What the start of the grid gets
        # wrong at a vertex is kept beside it, so that vertices move as the template's do and the residual learns on.
        missing = body.weights - self.skinning.weights_at(shaped).detach()
        self.skinning_missing = SparseWeights(missing) if self.options.anchor_skinning else None
        low, high = bounding_box(teeth, self.options.mouth_margin)
        self.register_buffer("mouth_low", low, persistent=False)
        self.register_buffer("mouth_high", high, persistent=False)
        self.saam = SpatialAudioAttention(context.audio_channels, (low + high) / 2, (high - low) / 2)
        self._mouth, self._chosen = Kept[tuple[Tensor, Tensor]](), Chosen()
        self.refinement = PoseRefinement(len(context.train_frames), context.pose)
        self._drop_switched_off()
        self.surface = self._skin(rest, shaped) if self.options.deform == "skin" else None

    @classmethod
    def check(cls, config: FitConfig) -> None:
        read_options(Thgs(), config.method.options)
        super().check(config)

    # -- what the base asks for ----------------------------------------------------------------------------------------

    @property
    def carried(self) -> dict[str, Int[Tensor, " N"]]:
        parents = {"parent": self.carried_parent}
        return parents if self.surface is None else parents | {"face": self.carried_face}

    def carry(self, carried: dict[str, Int[Tensor, " N"]]) -> None:
        self.carried_parent = carried["parent"]
        if self.surface is not None:
            self.carried_face = carried["face"]

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {
            "skinning": [self.skinning.residual],
            "pose": [self.refinement.full_pose, self.refinement.transl],
            "expression": [self.refinement.expression],
            "leb": [self.leb.residual],
            "saam_planes": list(self.saam.planes.parameters()),
            "saam_attention": list(self.saam.attention.parameters()),
            "saam": [
                *self.saam.encoder.parameters(),
                *self.saam.smoother.parameters(),
                *self.saam.decoder.parameters(),
            ],
        }

    def shots(self, batch: Batch) -> dict[str, Shot]:
        shots = super().shots(batch)
        if self.surface is not None and self.counts("open") and self.step % EVERY == 0:
            shots[ASIDE] = Shot(SHOWN, self._aside(batch), batch.background, grows=False)
        return shots

    def terms(self, drawn: dict[str, Rendering], batch: Batch) -> dict[str, Float[Tensor, "..."]]:
        terms = super().terms(drawn, batch)
        means = self.gaussians["means"]
        if self.surface is None:
            terms["vertex"] = vertex_binding(means, self.body.v_template, self.carried_parent)
        else:
            terms |= self._on_skin(self.surface)
        if ASIDE in drawn:
            terms["open"] = openness(drawn[ASIDE].alpha, self._inside(batch), self._aside(batch))
        if self.started("leb"):
            terms["leb"] = self.leb.norm(cast(Norm, self.options.leb_norm))
        return terms

    def deform(self, signal: DrivingSignal) -> Layers:
        pose = self.refined_pose(signal)
        raw = self.gaussians
        means, quats, log_scales = raw["means"], raw["quats"], raw["scales"]
        if self.started("saam") and signal.audio is not None:
            means, quats, log_scales = self._listen((means, quats, log_scales), signal.audio[0])
        local, footing = Local(means, quats, log_scales.exp()), self._footing()
        expressed = self._expressed(pose)
        offsets = Offsets(self._vertex_offsets(pose, expressed), footing)
        maps = self._maps(means, offsets, pose)
        if self.surface is not None:
            local = self._with_the_skin(local, footing, expressed)
        means, quats, scales = place(local, maps, offsets=offsets)
        return {SHOWN: Gaussians(means, quats, scales, raw["opacities"].sigmoid(), raw["sh"])}

    def render(
        self, gaussians: Gaussians, cameras: Cameras, background: Float[Tensor, " 3"] | None = None
    ) -> Rendering:
        """People are closed surfaces: surfels that face away are behind others, and would fill the gaps of these."""
        if self.surface is None or len(cameras) > 1:
            return super().render(gaussians, cameras, background)
        seen = self._faces(gaussians, cameras)
        return super().render(replace(gaussians, opacities=gaussians.opacities * seen), cameras, background)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.surface is not None:
            if self.step % WALK == 0:
                self._walk(self.surface)
            if self.step + 1 == self.config.budget.steps:
                self._fill(self.surface)

    def _on_skin(self, surface: SkinSurface) -> dict[str, Float[Tensor, " n"]]:
        """What holds Gaussians to the skin, of every fourth in turn: of all in the mean, at a quarter of the work."""
        some = slice(self.step % TURNS, None, TURNS)
        footing = Footing(*(values[some] for values in self._footing()))
        heights = surface.height(self.gaussians["means"][some], footing)
        normals = normalize(footing.of(surface.normals), dim=-1)
        return {
            "vertex": skin_binding(heights, footing.of(self.reach[:, None])[:, 0]),
            "lying": beyond_tilt(third_axis(self.gaussians["quats"][some]), normals),
        }

    def _aside(self, batch: Batch) -> Cameras:
        return aside(batch.cameras, batch.signal.pose.transl[0] + self.centre, self.step)

    @torch.no_grad()
    def _inside(self, batch: Batch) -> Float[Tensor, "1 P 3"]:
        """Points of the frame's person that something of the person is before, whoever looks."""
        pose = self.refined_pose(batch.signal)
        return self.body(pose, self.some_vertices, self.inset)[0]

    # -- parts ---------------------------------------------------------------------------------------------------------

    def refined_pose(self, signal: DrivingSignal) -> BodyPose:
        """Tracked parameters with what has been learned about this frame; frames never trained on stay as tracked."""
        row = self.frame_row(signal)
        return signal.pose if row < 0 or not self.options.joint else self.refinement(signal.pose, row)

    def _vertex_offsets(self, pose: BodyPose, expressed: Float[Tensor, "V 3"]) -> Float[Tensor, "V 3"]:
        """B_S + B_E + B_P of every template vertex (eqs 2-4, 9)."""
        offsets = self.shape_offset + expressed
        if self.body.posedirs is None:
            return offsets
        return offsets + self.body.pose_offsets(pose.full_pose)[0]

    def _skin(self, rest: Float[Tensor, "V 3"], shaped: Float[Tensor, "V 3"]) -> SkinSurface:
        """What Gaussians stand on: the person as seen, at rest; the skin below turns and stretches them."""
        body, surface = self.body, SkinSurface(rest, self.body.faces)
        moving = body.expressiondirs.flatten(1).any(1)
        self.register_buffer("carried_face", surface.first_faces())
        self.register_buffer("reach", _reach(body, surface), persistent=False)
        inner = torch.cat([body.regions[name] for name in (*INNER, "mouth_cavity")])
        open_sided = body.face.index_fill(0, inner, True)
        self.register_buffer("open_sided", open_sided, persistent=False)
        self.register_buffer("moving_face", moving[body.faces].any(1), persistent=False)
        self.gradient = SkinGradient(shaped, body.faces, moving)
        inset = rest - body.v_template - INSET * surface.normals
        self.register_buffer("some_vertices", torch.arange(0, len(rest), SOME), persistent=False)
        self.register_buffer("inset", inset[::SOME].clone(), persistent=False)
        self.register_buffer("centre", rest[body.regions["head"]].mean(0), persistent=False)
        self._moving, self._standing = Chosen(), Kept[Footing]()
        return surface

    def _expressed(self, pose: BodyPose) -> Float[Tensor, "V 3"]:
        return self.leb(pose.expression[0], personal=self.started("leb"))

    def _footing(self) -> Footing:
        """Where the Gaussians stand: on their parent vertices, or in triangles."""
        if self.surface is None:
            return Footing.on(self.carried_parent)
        means = self.gaussians["means"]
        make = partial(self.surface.footing, means.detach(), self.carried_face)
        return self._standing.get(make, means, self.carried_face, graph=False)

    def _with_the_skin(self, local: Local, footing: Footing, expressed: Float[Tensor, "V 3"]) -> Local:
        """Gaussians on skin that an expression moves, turned and stretched as it is there; the less the higher."""
        assert self.surface is not None
        face, gradient = self.carried_face, self.gradient
        chosen = self._moving.get(lambda: self.moving_face[face], face, face._version)
        return carried(local, chosen, footing, self.surface.vertices, gradient.row, gradient(expressed))

    @torch.no_grad()
    def _walk(self, surface: SkinSurface) -> None:
        """Let every Gaussian go to the triangle that is nearest to it now; the nearest corner becomes its parent."""
        means = self.gaussians["means"]
        self.carried_face = surface.walk(means, self.carried_face)
        footing = self._footing()
        self.carried_parent = footing.corners.gather(1, footing.shares.argmax(1, keepdim=True))[:, 0]
        if self.density is not None:
            self.density.carried = self.carried

    @torch.no_grad()
    def _faces(self, gaussians: Gaussians, camera: Cameras) -> Bool[Tensor, " N"]:
        """Which surfels do not turn their backs to a camera; those of face and mouth, thin and folded, never do."""
        rotation, translation = camera.viewmats[0, :3, :3], camera.viewmats[0, :3, 3]
        sight = gaussians.means + rotation.T @ translation
        along = (third_axis(gaussians.quats) * sight).sum(-1)
        return (along < AWAY * sight.norm(dim=-1)) | self.open_sided[self.carried_parent]

    @torch.no_grad()
    def _fill(self, surface: SkinSurface) -> None:
        """What has turned its back to the camera in every frame covers its place, in the colours of what has not."""
        batch = some_frames(self.context, FACED).to(self.device)
        frames = [batch.frame(i) for i in range(len(batch))]
        faced = torch.stack([self._faces(self.drive(frame.signal), frame.cameras) for frame in frames]).any(0)
        extent = COVER * self._footing().of(surface.spacing[:, None])[:, 0]
        fill_unseen(self, self.gaussians["means"], torch.where(faced, 0.0, extent))

    def _maps(self, means: Float[Tensor, "N 3"], offsets: Offsets, pose: BodyPose) -> Float[Tensor, "N 3 4"]:
        """Where skinning takes each Gaussian; the grid is looked up where shape, expression and sound have put it."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.options.detach_skinning):
            displaced = means + offsets.footing.of(offsets.values)
        transforms = self.body.joint_transforms(pose.betas, pose.full_pose, pose.expression)[0, :, :3]
        # Weights sum to one, so the body's translation may as well be each joint's.
        transforms = torch.cat([transforms[..., :3], transforms[..., 3:] + pose.transl[0, :, None]], -1)
        return self.skinning(displaced, transforms, self.skinning_missing, offsets.footing)

    def in_mouth(self, means: Float[Tensor, "N 3"]) -> Bool[Tensor, " N"]:
        """The Gaussians SAAM may change: those in the box round the teeth, on the head (section 3.3)."""
        inside = ((means > self.mouth_low) & (means < self.mouth_high)).all(-1)
        return inside & self.head[self.carried_parent]

    def _listen(self, raw: tuple[Tensor, ...], windows: Float[Tensor, "8 16 C"]) -> tuple[Tensor, ...]:
        """Raw means, quaternions and log scales with what the sound does to them."""
        chosen, canonical = self._mouth.get(self._mouth_gaussians, self.gaussians["means"], self.carried_parent)
        offsets = self.saam(canonical, windows)
        return tuple(whole.index_add(0, chosen, change) for whole, change in zip(raw, offsets, strict=True))

    def _mouth_gaussians(self) -> tuple[Int[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Those that listen, and where they lie in canonical space; no gradient goes through the planes to them."""
        means = self.gaussians["means"]
        canonical, seldom = means.detach(), self.training and means.device.type != "cpu"
        # Means crawl: a GPU that learns is not waited for in every step to see which of them have crossed the box.
        key = self.step // CROSSED if seldom else object()
        chosen = self._chosen.get(lambda: self.in_mouth(canonical), means, key)
        return chosen, canonical[chosen]

    def _initial_gaussians(self, rest: Float[Tensor, "V 3"], worn: Float[Tensor, " V"]) -> nn.ParameterDict:
        """One Gaussian a vertex at rest: z along the normal, radius from the incident faces (section 3.1)."""
        body, options = self.body, self.options
        count = len(rest)
        normals = vertex_normals(rest, body.faces)
        generator = torch.Generator().manual_seed(self.config.seed)
        drawn = torch.randn(count, 3, generator=generator)
        x = normalize(torch.linalg.cross(drawn, normals), dim=-1)
        frame = torch.stack([x, torch.linalg.cross(normals, x), normals], -1)
        radius = (mean_incident_area(rest, body.faces) / math.pi).sqrt()
        radius = radius.clamp(options.scale_min, options.scale_max)
        scales = radius[:, None].repeat(1, 3)
        # A surfel has no thickness; a third scale would only throw the children of a split off the surface.
        scales[:, 2] *= 0.5 if self.config.renderer.mode == "3dgs" else 0.01
        logit = math.log(options.opacity / (1 - options.opacity))
        sh = torch.zeros(count, (options.sh_degree + 1) ** 2, 3)
        found = seen_colours(self.context, body.faces, lambda pose: dress(body(pose)[0][0], body.faces, worn))
        sh[:, 0] = rgb_to_sh(completed(*found, rest, parts_of(body)))
        return nn.ParameterDict(
            {
                "means": rest.clone(),
                "quats": matrix_to_quat(frame),
                "scales": scales.log(),
                "opacities": torch.full((count,), logit),
                "sh": sh,
            }
        )

    def _drop_switched_off(self) -> None:
        """A part that is off has no row in the schedule, so it never starts and is never optimised."""
        for option, groups in PARTS.items():
            if not getattr(self.options, option):
                for group in groups:
                    self.schedules.pop(group, None)
        if "expression" in self.config.method.silence:
            self.schedules.pop("expression", None)  # what a frame's picture would give back


def _reach(body: Body, surface: SkinSurface) -> Float[Tensor, " V"]:
    """Metres that a Gaussian may stand off each vertex: hair and clothes may, what a face moves must not."""
    reach = torch.where(body.face, surface.spacing.clamp_min(LEAST_REACH), LOOSE)
    for name in INNER:
        reach[body.regions[name]] = INNER_REACH
    return reach
