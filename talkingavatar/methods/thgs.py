"""THGS: a full-body talking avatar from monocular video (CGF 2025, doi 10.1111/cgf.15282)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from talkingavatar.body.mesh_geometry import bounding_box, mean_incident_area, skinning_grid, vertex_normals
from talkingavatar.config.family_options import Thgs
from talkingavatar.config.options import read_options
from talkingavatar.config.rows import ROWS
from talkingavatar.geometry.rotations import matrix_to_quat
from talkingavatar.geometry.spherical_harmonics import rgb_to_sh
from talkingavatar.geometry.triangles import quarters, triangle_areas, triangle_frames
from talkingavatar.losses import vertex_binding
from talkingavatar.methods.baking import Skinned, baked_grid, baked_skeleton, few_joints, posedirs_of, sparse_weights
from talkingavatar.methods.base import SHOWN
from talkingavatar.methods.colours import PosedMesh, completed, first_look, seen_colours
from talkingavatar.methods.context import MethodContext
from talkingavatar.methods.dressing import dress, dressed
from talkingavatar.methods.gaps import colours_around, gaps, pixel_at, seen_aslant
from talkingavatar.methods.skin_bound import EASE, LOOSE, SkinBound
from talkingavatar.methods.unseen import SURE
from talkingavatar.networks.baked import Grid, Listener, Residual, Resting, Skeleton, Weights
from talkingavatar.networks.footing import Footing
from talkingavatar.networks.kept import Chosen, Kept
from talkingavatar.networks.leb import LearnableExpressionBlendshapes, Norm, excited
from talkingavatar.networks.placing import Local, Offsets, place
from talkingavatar.networks.pose_refinement import PoseRefinement
from talkingavatar.networks.saam import SpatialAudioAttention
from talkingavatar.networks.skin_surface import SkinSurface
from talkingavatar.networks.skinning import SkinningField, SparseWeights
from talkingavatar.splatting.density import DensityControl
from talkingavatar.types import Batch, BodyPose, DrivingSignal, Gaussians, Layers, Rendering

# The parameter groups behind each switch.
PARTS = {
    "leb": ("leb",),
    "saam": ("saam", "saam_planes", "saam_attention"),
    "joint": ("skinning", "pose", "expression"),
}

CROSSED = 100  # steps of a GPU after which it is seen anew which Gaussians are in the box round the teeth
AT_ONCE = 16  # frames whose sound a baked avatar hears
LOOKED = 24  # frames whose skinning weights a baked avatar has in the mean
VARIED = 3e-4  # of a Gaussian's skinning weights in these, all joints' together, beyond which it looks them up
PLANTED = ("face", "head", "body")  # parts that have their gaps closed; what lies inside is seldom seen
SPARE = 0.05  # of the Gaussians that there may be: for gaps, when nothing grows any more; some 4 % are planted
AGAIN = 0.25  # of the steps from then on, after which gaps are looked for once more
SHADED = 0.5  # by how much a face's skin looks down (cosine) where it is not planted
SKINNED = 0.05  # metres from the template within which the skinning grid has nodes of its own


@final
class THGS(SkinBound):
    """Gaussians on SMPL-X vertices, moved by LEB, SAAM and a learned skinning grid.

    Canonical centre (before skinning): mu + B_S(beta)[parent] + B_E(psi)[parent] + B_P(theta)[parent] + SAAM(mu, A).
    Per-vertex blendshapes are read through the parent vertex (`deform: centre`), or where the Gaussian stands in a
    triangle of the skin, which then also turns and stretches it (`deform: skin`, ours).
    """

    group_names, term_names = ROWS["method"]["thgs"].groups, ROWS["method"]["thgs"].terms

    head: Tensor
    in_teeth: Tensor
    hold: Tensor  # whether to the person that was seen, and metres off it that are free
    mouth_low: Tensor
    mouth_high: Tensor
    shape_offset: Tensor

    def __init__(self, context: MethodContext) -> None:
        super().__init__(context)
        self.options = read_options(Thgs(), self.config.method.options)
        body = self.body
        self.register_buffer("carried_parent", torch.arange(len(body.v_template)))
        self.gaussians = self._initial_gaussians(body.v_template, torch.full_like(body.v_template, 0.5))
        self.register_buffer("head", torch.zeros_like(body.face), persistent=False)
        self.head[body.regions["head"]] = True
        self.register_buffer("shape_offset", body.shapedirs @ context.pose.betas[0], persistent=False)
        # The grid is looked up at shaped positions (eq. 6), so it is filled from the shaped template.
        shaped = body.v_template + self.shape_offset
        grid = skinning_grid(shaped, body.weights, band=SKINNED)
        self.skinning = SkinningField.from_grid(grid.weights, grid.lower, grid.upper)
        self.leb = LearnableExpressionBlendshapes(
            body.expressiondirs, self.head, excited(context.pose.expression[context.train_frames])
        )
        parts = self.parts()
        self.register_buffer("in_teeth", parts["teeth_upper"] | parts["teeth_lower"], persistent=False)
        self.register_buffer("hold", torch.stack([~body.face, EASE * parts["head"]], 1), persistent=False)
        # 64 cells over a T-pose are 3 cm wide: lips, eyelids and fingers share them. What the start of the grid gets
        # wrong at a vertex is kept beside it, so that vertices move as the template's do and the residual learns on.
        missing = body.weights - self.skinning.weights_at(shaped).detach()
        self.skinning_missing = SparseWeights(missing) if self.options.anchor_skinning else None
        low, high = bounding_box(body.v_template[self.in_teeth], self.options.mouth_margin)
        self.register_buffer("mouth_low", low, persistent=False)
        self.register_buffer("mouth_high", high, persistent=False)
        self.saam = SpatialAudioAttention(context.audio_channels, (low + high) / 2, (high - low) / 2)
        self._mouth, self._chosen = Kept[tuple[Tensor, Tensor]](), Chosen()
        self.refinement = PoseRefinement(len(context.train_frames), context.pose)
        self._drop_switched_off()
        if self.options.deform == "skin":
            self.stand_on(body.v_template, shaped, body.faces, behind=self.options.behind)

    @torch.no_grad()
    def begin(self) -> None:
        body = self.body
        batch, meshes = first_look(self.context, lambda pose: body(pose)[0][0])
        worn = dressed(batch, meshes, body.faces, body) if self.options.dressed else torch.zeros(len(body.v_template))
        rest = dress(body.v_template, body.faces, worn)
        found = seen_colours(batch, [dress(mesh, body.faces, worn) for mesh in meshes], body.faces)
        colours = completed(*found, rest, self.parts())
        self.gaussians = self._initial_gaussians(rest, colours)
        if self.surface is not None:
            self.lie(self.surface, rest)
            self._add_teeth(self.surface, colours)

    def lie(self, surface: SkinSurface, seen: Float[Tensor, "V 3"]) -> None:
        super().lie(surface, seen)
        surface.spacing[self.in_teeth] /= 2  # see `_add_teeth`

    # -- what the base asks for ----------------------------------------------------------------------------------------

    @property
    def numbered(self) -> dict[str, int]:
        return super().numbered | {"parent": len(self.body.v_template)}

    def resting(self, some: slice = slice(None)) -> Local:
        raw = self.gaussians
        return Local(raw["means"][some], raw["quats"][some], raw["scales"][some].exp())

    def beside(
        self, pose: BodyPose, vertices: Int[Tensor, " n"], offsets: Float[Tensor, "n 3"]
    ) -> Float[Tensor, "n 3"]:
        return self.body(pose, vertices, offsets)[0][0]

    def off(self, heights: Float[Tensor, "n 3"], footing: Footing) -> Float[Tensor, " n"]:
        """A face has a shape of its own, which pictures tell, hair some; how deep cloth lies one camera does not."""
        share, free = footing.of(self.hold).unbind(-1)
        return share * ((heights.norm(dim=-1) - free).relu() / LOOSE).square()

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

    def terms(self, drawn: dict[str, Rendering], batch: Batch) -> dict[str, Float[Tensor, "..."]]:
        terms = super().terms(drawn, batch)
        if self.surface is None:
            terms["vertex"] = vertex_binding(self.gaussians["means"], self.body.v_template, self.carried_parent)
        if self.started("leb"):
            terms["leb"] = self.leb.norm(cast(Norm, self.options.leb_norm))
        return terms

    def deform(self, signal: DrivingSignal) -> Layers:
        pose = self.refined_pose(signal)
        raw = self.gaussians
        means, quats, log_scales = self._raw(signal)
        local, footing = Local(means, quats, log_scales.exp()), self._footing()
        expressed = self._expressed(pose)
        offsets = Offsets(self._vertex_offsets(pose, expressed), footing)
        maps = self._maps(means, offsets, pose)
        if self.surface is not None:
            local = self.with_the_skin(local, footing, expressed)
        means, quats, scales = place(local, maps, offsets=offsets)
        return {SHOWN: Gaussians(means, quats, scales, raw["opacities"].sigmoid(), raw["sh"])}

    # -- gaps ----------------------------------------------------------------------------------------------------------

    def density_details(self) -> dict[str, Any]:
        """What grows leaves room for what is planted."""
        return {} if self.surface is None else {"spare": SPARE}

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.surface is not None and self.density is not None:
            stop = self.density.policy.stop
            if self.step in (stop, stop + round(AGAIN * (self.config.budget.steps - stop))):
                self._plant(self.surface, self.density)

    @torch.no_grad()
    def _plant(self, surface: SkinSurface, density: DensityControl) -> None:
        """One Gaussian in each gap of what no camera looks straight at; it gets the colour of those round it."""
        raw, faces, resting = self.gaussians, surface.faces, self.resting()
        corners, opacities = surface.vertices[faces], raw["opacities"].sigmoid()
        parts = {name: here for name, here in self.parts().items() if name in PLANTED}
        inside = {name: here[faces].all(1) for name, here in parts.items()}
        # What is below jaw, nose and brows lies in their shadow: no colour from around it would be right.
        inside["face"] &= triangle_frames(corners).rotation[:, 1, 1] > -SHADED
        batch, meshes = first_look(self.context, self._dressed(surface))
        aslant, pixel = seen_aslant(batch, meshes, faces.cpu()), pixel_at(meshes[0], batch.frame(0).cameras)
        wanted = torch.stack([*inside.values()]).any(0) & aslant.to(faces.device)
        most = max(0, density.policy.max_gaussians - len(opacities))
        chosen = gaps(corners, wanted, resting, opacities, most, pixel)
        places = corners[chosen].mean(1)
        there = {name: here[chosen] for name, here in inside.items()}
        given = {name: here[self.carried_parent] & (opacities > SURE) for name, here in parts.items()}
        constant = colours_around(places, there, resting, raw["sh"][:, 0], given)
        values = self._in_triangles(corners[chosen], constant)
        density.add(values, {"parent": faces[chosen, 0], "face": chosen})
        self.carry(density.carried)

    def _dressed(self, surface: SkinSurface) -> PosedMesh:
        """What the person is seen as, in any pose; on the CPU."""
        every = torch.arange(len(surface.vertices), device=self.device)
        worn = surface.vertices - self.bare
        return lambda pose: self.beside(pose.to(self.device), every, worn).cpu()

    # -- baking --------------------------------------------------------------------------------------------------------

    def at_its_rest(self) -> Resting:
        raw = {name: values.detach() for name, values in self.gaussians.items()}
        means = raw["means"] + self._footing().of(self.shape_offset)
        return Resting(means, raw["quats"], raw["scales"], raw["opacities"], raw["sh"])

    def skinned(self) -> Skinned:
        footing, surface, count = self._footing(), self.surface, len(self.gaussians["means"])
        offsets = self.leb.directions(personal=self.started("leb"))
        if surface is None:
            stands = self.body.v_template + self.shape_offset
            stretched = torch.zeros(count, dtype=torch.bool, device=self.device)
            gradient = None
        else:
            stands, gradient = surface.vertices + self.shape_offset, self.gradient
            stretched = self.moving_face[self.carried_face]
        constant = torch.zeros_like(self.shape_offset)  # the shape turns nothing: the gradient knows it
        return Skinned(footing, footing.of(stands), stretched, offsets, constant, gradient, posedirs_of(self.body))

    def baked_weights(self, frames: DrivingSignal, footing: Footing) -> tuple[Weights, Grid | None]:
        """Those of the skinning grid in the mean of some frames, where it is looked up in the same place in all."""
        some = frames[:: -(-len(frames) // LOOKED)].to(self.device)
        places = torch.stack([self._displaced(some[i : i + 1]) for i in range(len(some))])
        found = [self.skinning.weights_at(points) for points in places]
        mean, missing = torch.stack(found).mean(0), self.skinning_missing
        varied = torch.stack([(weights - mean).abs().sum(1) for weights in found]).amax(0)
        beside = torch.zeros_like(mean) if missing is None else footing.of(missing.dense(missing.values))
        fixed, rows = sparse_weights(mean + beside), (varied > VARIED).nonzero()[:, 0]
        if not len(rows):
            return fixed, None
        left = few_joints(beside[rows])
        weights = Weights(fixed.joints.index_copy(0, rows, left.joints), fixed.values.index_copy(0, rows, left.values))
        return weights, baked_grid(self.skinning, rows, places[:, rows].flatten(0, 1))

    def _displaced(self, signal: DrivingSignal) -> Float[Tensor, "N 3"]:
        """Where the Gaussians are in a frame before the joints carry them."""
        pose = self.refined_pose(signal)
        means, _, _ = self._raw(signal)
        return means + self._footing().of(self._vertex_offsets(pose, self._expressed(pose)))

    def baked_skeleton(self) -> Skeleton:
        return baked_skeleton(self.body, self.context.pose.betas[0].to(self.device))

    def baked_residual(
        self, frames: DrivingSignal
    ) -> tuple[Residual | Listener | None, Callable[[DrivingSignal], Float[Tensor, "T R"]]]:
        """SAAM's decoder, with what it has of the mouth's Gaussians; SAAM tells what it hears."""
        if frames.audio is None or not self.started("saam"):
            return super().baked_residual(frames)
        rows = self.in_mouth(self.gaussians["means"]).nonzero()[:, 0]

        def heard(signal: DrivingSignal) -> Float[Tensor, "T R"]:
            assert signal.audio is not None
            return torch.cat([self.saam.heard(some) for some in signal.audio.split(AT_ONCE)])

        return self.saam.listener(self.gaussians["means"][rows], rows), heard

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

    def _expressed(self, pose: BodyPose) -> Float[Tensor, "V 3"]:
        return self.leb(pose.expression[0], personal=self.started("leb"))

    def _footing(self) -> Footing:
        """Where the Gaussians stand: on their parent vertices, or in triangles."""
        return Footing.on(self.carried_parent) if self.surface is None else self.footing()

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

    def _raw(self, signal: DrivingSignal) -> tuple[Tensor, ...]:
        """Raw means, quaternions and log scales of a frame."""
        raw = tuple(self.gaussians[name] for name in ("means", "quats", "scales"))
        if signal.audio is None or not self.started("saam"):
            return raw
        return self._listen(raw, signal.audio[0])

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

    def _initial_gaussians(self, rest: Float[Tensor, "V 3"], colours: Float[Tensor, "V 3"]) -> nn.ParameterDict:
        """One Gaussian a vertex at rest: z along the normal, radius from the incident faces (section 3.1)."""
        faces = self.body.faces
        normals = vertex_normals(rest, faces)
        drawn = torch.randn(len(rest), 3, generator=torch.Generator().manual_seed(self.config.seed))
        x = normalize(torch.linalg.cross(drawn, normals), dim=-1)
        frame = torch.stack([x, torch.linalg.cross(normals, x), normals], -1)
        return nn.ParameterDict(self._lying(rest, frame, mean_incident_area(rest, faces), rgb_to_sh(colours)))

    @torch.no_grad()
    def _add_teeth(self, surface: SkinSurface, colours: Float[Tensor, "V 3"]) -> None:
        """Four Gaussians in each triangle of teeth, for half as wide: those of vertices are larger than a tooth."""
        raw, faces = self.gaussians, surface.faces
        raw["scales"][self.in_teeth, :2] -= math.log(2)
        own = self.in_teeth[faces].all(1).nonzero()[:, 0]
        corners, chosen = quarters(surface.vertices[faces[own]]).flatten(0, 1), own.repeat_interleave(4)
        added = self._in_triangles(corners, rgb_to_sh(colours[faces[chosen]].mean(1)))
        self.gaussians = nn.ParameterDict({name: torch.cat([values, added[name]]) for name, values in raw.items()})
        parent = torch.cat([self.carried_parent, faces[chosen, 0]])
        self.carry({"parent": parent, "face": torch.cat([self.carried_face, chosen])})

    def _in_triangles(self, corners: Float[Tensor, "N 3 3"], constant: Float[Tensor, "N 3"]) -> dict[str, Tensor]:
        frames = triangle_frames(corners)
        # Columns: along the triangle, along it, its normal.
        return self._lying(frames.centre, frames.rotation.roll(1, -1), triangle_areas(corners), constant)

    def _lying(
        self, means: Float[Tensor, "N 3"], frame: Float[Tensor, "N 3 3"], areas: Float[Tensor, " N"],
        constant: Float[Tensor, "N 3"],
    ) -> dict[str, Tensor]:  # fmt: skip
        """Raw Gaussians that lie in the surface, as wide as an area of it (m^2).

        Args:
            frame: columns: two along the surface and the normal.
            constant: first coefficients of the colours' spherical harmonics.
        """
        options, count = self.options, len(means)
        radius = (areas / math.pi).sqrt().clamp(options.scale_min, options.scale_max)
        scales = radius[:, None].repeat(1, 3)
        # A surfel has no thickness; a third scale would only throw the children of a split off the surface.
        scales[:, 2] *= 0.5 if self.config.renderer.mode == "3dgs" else 0.01
        logit = math.log(options.opacity / (1 - options.opacity))
        sh = means.new_zeros(count, (options.sh_degree + 1) ** 2, 3)
        sh[:, 0] = constant
        return {
            "means": means.clone(),
            "quats": matrix_to_quat(frame),
            "scales": scales.log(),
            "opacities": means.new_full((count,), logit),
            "sh": sh,
        }

    def _drop_switched_off(self) -> None:
        """A part that is off has no row in the schedule, so it never starts and is never optimised."""
        for option, groups in PARTS.items():
            if not getattr(self.options, option):
                for group in groups:
                    self.schedules.pop(group, None)
        if "expression" in self.config.method.silence:
            self.schedules.pop("expression", None)  # what a frame's picture would give back
