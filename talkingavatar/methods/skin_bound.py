"""Gaussians that stand on a person's skin, stay with it and go with it, whatever carries the skin itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from talkingavatar.body.lips import lips_of
from talkingavatar.body.models import Body
from talkingavatar.body.parts import INSIDE, MOUTH
from talkingavatar.geometry.cameras import eyes, in_picture
from talkingavatar.geometry.rotations import third_axis
from talkingavatar.losses import beyond_jut, beyond_scale, beyond_tilt, skin_binding
from talkingavatar.methods.aside import EVERY, aside, openness
from talkingavatar.methods.baking import Baking, Skinned, baked_skin, no_coefficients
from talkingavatar.methods.base import SHOWN, Method
from talkingavatar.methods.behind import set_behind
from talkingavatar.methods.colours import parts_of
from talkingavatar.methods.context import MethodContext
from talkingavatar.methods.gaps import STRAIGHT, pixel_at
from talkingavatar.methods.unseen import driven_frames, fill_unseen
from talkingavatar.networks.baked import Baked, Grid, Latents, Listener, Residual, Resting, Skeleton, Weights
from talkingavatar.networks.footing import Footing
from talkingavatar.networks.kept import Chosen, Kept
from talkingavatar.networks.placing import Local
from talkingavatar.networks.skin_surface import SkinGradient, SkinSurface, carried
from talkingavatar.splatting.conventions import FILTER_2DGS
from talkingavatar.types import Batch, BodyPose, Cameras, DrivingSignal, Gaussians, Rendering, Shot

ASIDE = "aside"
SOME, INSET = 4, 3e-3  # every so manieth vertex is looked at from aside, so many metres below the surface
WALK = 50  # steps after which each Gaussian looks for the triangle that is nearest to it now
AWAY = 0.3  # cosine between a surfel's normal and the line of sight above which it is not drawn
TURNS = 8  # steps in which every Gaussian is held to the skin once
LEAST_REACH, LOOSE, INNER_REACH = 2e-3, 3e-2, 1e-3  # metres: of a face's skin, of hair and clothes, of eyes and teeth
EASE = 1e-2  # metres off the person that was seen within which hair may stand as pictures want it
MOST_JUT = 3e-3  # metres: standard deviation of a Gaussian across the skin, above which the jut loss pulls
WIDEST = 1.0  # of the spacing of vertices: standard deviation of a Gaussian, above which the scale loss pulls
FINEST = FILTER_2DGS**-0.5  # pixels: standard deviation of what the rasteriser draws of the smallest surfel
# Of a covering extent: what just covers; and the logit of the opacity that a jaw's underside has at least.
SNUG, OPAQUE = 0.83, 3.0
MOST = 0.9  # of the Gaussians: what is told of them all
CORNER = 0.6  # of the lips' half width at rest: discs of the mouth's inside farther out reach into cheeks
INNER = ("left_eye", "right_eye", "teeth_upper", "teeth_lower", "tongue")


class SkinBound(Method):
    """Each Gaussian has a parent vertex; with a `surface`, the person as seen at rest, it stands in a triangle of that.

    An expression then turns and stretches it as it does the skin there. Gaussians that are bound in another way have no
    surface, and keep their parents.
    """

    cover: ClassVar[float] = 0.6  # of the spacing of vertices: standard deviation of a Gaussian that covers its place

    carried_parent: Tensor
    carried_face: Tensor
    reach: Tensor
    moving_face: Tensor
    in_the_mouth: Tensor
    in_the_cheeks: Tensor
    open_sided: Tensor
    some_vertices: Tensor
    bare: Tensor
    inset: Tensor
    centre: Tensor
    filled: Tensor

    def __init__(self, context: MethodContext) -> None:
        super().__init__(context)
        self.surface: SkinSurface | None = None
        self.behind = 0.0

    def stand_on(
        self,
        bare: Float[Tensor, "V 3"],
        skin: Float[Tensor, "V 3"],
        faces: Int[Tensor, "F 3"],
        own: Int[Tensor, " N"] | None = None,
        behind: float = 0.0,
    ) -> None:
        """Let the Gaussians stand in triangles from now on.

        Args:
            bare: vertices of the person without what it wears, at rest, the body's first, metres; they lie there first.
            skin: the same in the person's own shape, if that was not; it is this that turns and stretches Gaussians.
            own: the triangle of each Gaussian; None: one of its vertex's, where each vertex has a Gaussian.
            behind: metres by which what of the mouth's inside is behind cheeks is drawn deeper than it lies.
        """
        body, self.surface = self.body, SkinSurface(bare, faces)
        others = len(bare) - len(body.v_template)
        self.register_buffer("carried_face", self.surface.first_faces() if own is None else own)
        inner = torch.cat([body.regions[name] for name in INSIDE])
        open_sided = torch.cat([body.face.index_fill(0, inner, True), torch.zeros(others, dtype=torch.bool)])
        self.register_buffer("open_sided", open_sided, persistent=False)
        self.behind = behind
        mouth = torch.cat([body.regions[name] for name in MOUTH])
        self.register_buffer("in_the_mouth", open_sided.new_zeros(len(bare)).index_fill(0, mouth, True), False)
        # Not what is behind the lips: whatever of these stands before it would be drawn over it when they open.
        lips = bare[lips_of(body), 0].abs()
        corner = CORNER * lips.max() if len(lips) else 0.0
        self.register_buffer("in_the_cheeks", self.in_the_mouth & (bare[:, 0].abs() > corner), persistent=False)
        moving = torch.cat([body.expressiondirs.flatten(1).any(1), torch.zeros(others, dtype=torch.bool)])
        self.register_buffer("moving_face", moving[faces].any(1), persistent=False)
        self.gradient = SkinGradient(skin, faces, moving)
        self.register_buffer("bare", bare, persistent=False)
        self.register_buffer("some_vertices", torch.arange(0, len(bare), SOME), persistent=False)
        self.register_buffer("filled", torch.zeros(()))
        self.lie(self.surface, bare)
        self._moving, self._in_cheeks, self._standing = Chosen(), Chosen(), Kept[Footing]()

    def lie(self, surface: SkinSurface, seen: Float[Tensor, "V 3"]) -> None:
        """Let what the Gaussians stand on lie where the person is seen, at rest, metres."""
        surface.lie(seen)
        inset = seen - self.bare - INSET * surface.normals
        self.register_buffer("reach", _reach(self.body, surface.spacing), persistent=False)
        self.register_buffer("inset", inset[::SOME].clone(), persistent=False)
        self.register_buffer("centre", seen[self.body.regions["head"]].mean(0), persistent=False)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if self.surface is not None:
            seen, expected = checkpoint["state_dict"]["surface.vertices"], self.surface.vertices.shape
            if seen.shape != expected:
                raise ValueError(f"surface.vertices of {tuple(seen.shape)}, not {tuple(expected)}")
            self.lie(self.surface, seen.to(self.device))

    @abstractmethod
    def resting(self, some: slice = slice(None)) -> Local:
        """The Gaussians, or some of them, where nothing moves."""

    @abstractmethod
    def beside(
        self, pose: BodyPose, vertices: Int[Tensor, " n"], offsets: Float[Tensor, "n 3"]
    ) -> Float[Tensor, "n 3"]:
        """Points beside some of the person's vertices in one frame's pose, in world space; each turns with its vertex.

        Args:
            offsets: from the vertices, metres at rest.
        """

    @property
    def carried(self) -> dict[str, Int[Tensor, " N"]]:
        parents = {"parent": self.carried_parent}
        return parents if self.surface is None else parents | {"face": self.carried_face}

    @property
    def numbered(self) -> dict[str, int]:
        return {} if self.surface is None else {"face": len(self.surface.faces)}

    def carry(self, carried: dict[str, Int[Tensor, " N"]]) -> None:
        self.carried_parent = carried["parent"]
        if self.surface is not None:
            self.carried_face = carried["face"]

    def shots(self, batch: Batch) -> dict[str, Shot]:
        shots = super().shots(batch)
        if self.surface is not None and self.counts("open") and self.step % EVERY == 0:
            shots[ASIDE] = Shot(SHOWN, self._aside(batch), batch.background, grows=False)
        return shots

    def terms(self, drawn: dict[str, Rendering], batch: Batch) -> dict[str, Float[Tensor, "..."]]:
        terms = super().terms(drawn, batch)
        if self.surface is None:
            return terms
        if ASIDE in drawn:
            with torch.no_grad():
                inside = self.beside(self.refined_pose(batch.signal), self.some_vertices, self.inset)
            terms["open"] = openness(drawn[ASIDE].alpha, inside[None], self._aside(batch))
        # Of every eighth in turn: of all in the mean, at an eighth of the work.
        some = slice(self.step % TURNS, None, TURNS)
        return terms | self.held(self.surface, self.resting(some), self.footing().at(some))

    def held(self, surface: SkinSurface, resting: Local, footing: Footing) -> dict[str, Float[Tensor, " n"]]:
        """What holds resting Gaussians to the skin where they stand, by the names of the loss table."""
        heights = surface.height(resting.means, footing)
        normals = normalize(footing.of(surface.normals), dim=-1)
        return {
            "vertex": skin_binding(heights, footing.of(self.reach[:, None])[:, 0]),
            "height": self.off(heights, footing),
            "lying": beyond_tilt(third_axis(resting.quats), normals),
            "jut": beyond_jut(resting.quats, resting.scales, normals, MOST_JUT),
            "scale": self.beyond_width(resting.scales / footing.of(surface.spacing[:, None])),
        }

    def off(self, heights: Float[Tensor, "n 3"], footing: Footing) -> Float[Tensor, " n"]:
        """How far from the person that was seen, in squares of `LOOSE`."""
        return (heights / LOOSE).square().sum(-1)

    def beyond_width(self, scales: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """By how much extents, in spacings of the skin's vertices, are too large."""
        return beyond_scale(scales, WIDEST)

    def seen(self, gaussians: Gaussians, cameras: Cameras) -> Gaussians:
        """People are closed surfaces: surfels that face away are behind others, and would fill the gaps of these.

        What of the mouth's inside is behind cheeks is behind them, whatever of its discs stands out.
        """
        if self.surface is None or len(cameras) > 1:
            return gaussians
        shown = replace(gaussians, opacities=gaussians.opacities * self.faces(gaussians, cameras))
        if not self.behind:
            return shown
        parent = self.carried_parent
        rows = self._in_cheeks.get(lambda: self.in_the_cheeks[parent], parent, parent._version)
        return set_behind(shown, rows, eyes(cameras.viewmats), self.behind)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.surface is not None:
            steps = self.config.budget.steps
            if self.step % WALK == 0:
                self.walk(self.surface)
                if 2 * self.step >= steps:
                    self.close(self.surface)
            if self.step + 1 == steps:
                self._fill(self.surface)
                self.close(self.surface)

    @torch.no_grad()
    def facts(self) -> dict[str, float]:
        """Millimetres from the skin, and how many Gaussians no trained frame shows."""
        if self.surface is None:
            return {}
        heights = 1e3 * self.surface.height(self.resting().means, self.footing()).norm(dim=-1)
        return {
            "skin/median_mm": float(heights.median()),
            "skin/most_mm": float(heights.quantile(MOST)),
            "skin/filled_percent": 100 * float(self.filled),
        }

    # -- baking --------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def bake(self, frames: DrivingSignal) -> Baking:
        rest, skinned = self.at_its_rest(), self.skinned()
        # What is displaced always may as well rest there.
        shift = skinned.footing.of(skinned.constant)
        weights, grid = self.baked_weights(frames, skinned.footing)
        rest = replace(rest, means=rest.means + shift, **self._sides())
        skinned = replace(skinned, resting=skinned.resting + shift)
        change, coefficients = self.baked_residual(frames)
        residual, listener = (None, change) if isinstance(change, Listener) else (change, None)
        skin, latents = baked_skin(skinned), self.baked_latents(frames)
        avatar = Baked(rest, self.baked_skeleton(), weights, skin, residual, grid, listener, latents)
        return Baking(avatar, self.refined_pose, coefficients)

    def _sides(self) -> dict[str, Bool[Tensor, " N"]]:
        """What `seen` asks of each, by the baked avatar's names."""
        if self.surface is None:
            return {}
        inside = {"inside": self.in_the_cheeks[self.carried_parent]} if self.behind else {}
        return {"open_sided": self.open_sided[self.carried_parent], **inside}

    @abstractmethod
    def at_its_rest(self) -> Resting:
        """The Gaussians where nothing moves, raw."""

    @abstractmethod
    def skinned(self) -> Skinned:
        """How the skin carries them.

        Raises:
            UserError: something else does.
        """

    @abstractmethod
    def baked_weights(self, frames: DrivingSignal, footing: Footing) -> tuple[Weights, Grid | None]:
        """Skinning of each, and of those for which it varies in some frames, what it varies by."""

    @abstractmethod
    def baked_skeleton(self) -> Skeleton:
        """The joints of the person."""

    def baked_residual(
        self, frames: DrivingSignal
    ) -> tuple[Residual | Listener | None, Callable[[DrivingSignal], Float[Tensor, "T R"]]]:
        """What changes raw attributes, and what tells its coefficients in a frame.

        Args:
            frames: of the capture.
        """
        return None, no_coefficients

    def baked_latents(self, frames: DrivingSignal) -> Latents | None:
        """Hidden directions of what drives it, the widest in these frames."""
        return None

    # -- parts ---------------------------------------------------------------------------------------------------------

    def footing(self, resting: Float[Tensor, "N 3"] | None = None) -> Footing:
        """Where the Gaussians stand; `resting`, where they are, need not be asked for where it is known."""
        assert self.surface is not None
        surface, own, face = self.surface, self.gaussians["means"], self.carried_face

        def make() -> Footing:
            with torch.no_grad():
                return surface.footing(self.resting().means if resting is None else resting.detach(), face)

        return self._standing.get(make, own, face, graph=False)

    def with_the_skin(self, local: Local, footing: Footing, expressed: Float[Tensor, "V 3"]) -> Local:
        """Gaussians on skin that an expression moves, turned and stretched as it is there; the less the higher."""
        assert self.surface is not None
        face, gradient = self.carried_face, self.gradient
        chosen = self._moving.get(lambda: self.moving_face[face], face, face._version)
        return carried(local, chosen, footing, self.surface.vertices, gradient.row, gradient(expressed))

    def _aside(self, batch: Batch) -> Cameras:
        return aside(batch.cameras, batch.signal.pose.transl[0] + self.centre, self.step)

    @torch.no_grad()
    def walk(self, surface: SkinSurface) -> None:
        """Let every Gaussian go to the triangle that is nearest to it now; the nearest corner becomes its parent."""
        self.carried_face = surface.walk(self.resting().means, self.carried_face)
        footing = self.footing()
        self.carried_parent = footing.corners.gather(1, footing.shares.argmax(1, keepdim=True))[:, 0]
        if self.density is not None:
            self.density.carried = self.carried

    @torch.no_grad()
    def faces(self, gaussians: Gaussians, camera: Cameras) -> Bool[Tensor, " N"]:
        """Which surfels do not turn their backs to a camera; those of face and mouth, thin and folded, never do."""
        rotation, translation = camera.viewmats[0, :3, :3], camera.viewmats[0, :3, 3]
        sight = gaussians.means + rotation.T @ translation
        along = (third_axis(gaussians.quats) * sight).sum(-1)
        return (along < AWAY * sight.norm(dim=-1)) | self.open_sided[self.carried_parent]

    @torch.no_grad()
    def _fill(self, surface: SkinSurface) -> None:
        """What is never seen because it has turned its back to the camera in every frame, stands beyond its picture's
        edges or lies in the mouth covers its place, in the colours of what is. What is seen is no finer than a pixel
        could tell, or just covers its place, as in lips: a closer camera, whose pixels are finer, would look between.
        """
        driven = driven_frames(self)
        faced = torch.stack([self.faces(*frame) & in_picture(frame[0].means, frame[1]) for frame in driven]).any(0)
        extent, pixel = self._covering(surface), pixel_at(driven[0][0].means, driven[0][1])
        finest = torch.minimum(FINEST * pixel / self._unit(), SNUG * extent).log()[:, None]
        self.gaussians["scales"][:, :2] = torch.maximum(self.gaussians["scales"][:, :2], finest)
        parts = {name: here[self.carried_parent] for name, here in self.parts().items()}
        # A wide mouth has walls that no frame shows, however straight they look at the camera through closed lips.
        covers = ~faced | self.in_the_mouth[self.carried_parent]
        filled = fill_unseen(self, driven, self.resting().means, torch.where(covers, extent, 0.0), parts)
        self.filled = filled.float().mean()

    @torch.no_grad()
    def close(self, surface: SkinSurface) -> None:
        """A jaw's underside is whole: who films from in front sees it aslant, and a mouth would show through it."""
        lip, raw = surface.vertices[self.body.regions["lip_outer_lower"], 1], self.gaussians
        if len(lip) and self.in_the_mouth.any():
            low = self.parts()["face"] & (surface.vertices[:, 1] < lip.min())
            under = (low & (surface.normals[:, 2] < STRAIGHT))[self.carried_parent].nonzero()[:, 0]
            least = (SNUG * self._covering(surface)[under, None]).log()
            raw["scales"][under, :2] = torch.maximum(raw["scales"][under, :2], least)
            raw["opacities"][under] = raw["opacities"][under].clamp_min(OPAQUE)

    def _covering(self, surface: SkinSurface) -> Float[Tensor, " N"]:
        """Standard deviations of Gaussians that cover their place, in the method's units."""
        return self.cover * self.footing().of(surface.spacing[:, None])[:, 0] / self._unit()

    def _unit(self) -> Float[Tensor, " N"]:
        """Metres that each Gaussian's own unit of length is at rest."""
        return self.resting().scales[:, 0] / self.gaussians["scales"][:, 0].exp()

    def parts(self) -> dict[str, Bool[Tensor, " V"]]:
        """The vertices of what does not share its looks with others, as `colours.parts_of` gives them."""
        return parts_of(self.body)


def _reach(body: Body, spacing: Float[Tensor, " V"]) -> Float[Tensor, " V"]:
    """Metres that a Gaussian may stand off each vertex: hair and clothes may, what a face moves must not."""
    reach = torch.full_like(spacing, LOOSE)
    face = body.face.nonzero()[:, 0]
    reach[face] = spacing[face].clamp_min(LEAST_REACH)
    for name in INNER:
        reach[body.regions[name]] = INNER_REACH
    return reach
