"""The source that needs nothing: a portrait warped in layers by its face mesh, which a code of mesh motion moves.

Back to front: surroundings, mouth and eyes, face, and a seam between face and surroundings. Where the face's own
triangles lie over each other the nearest is seen, so that lips and lids hide what is behind them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from scipy.ndimage import binary_opening, distance_transform_edt
from torch import Tensor

from talkingavatar.body.face_mesh import FaceMesh
from talkingavatar.data.mesh_motion import Take, unposed
from talkingavatar.data.portrait.eye import Eye
from talkingavatar.data.portrait.inside import (
    CAVITY,
    LEAST_SHOWN,
    LEFT_EYE,
    RIGHT_EYE,
    SKIN,
    TEETH,
    Teeth,
    face_lips,
    kinds_of,
    lips_alone,
    mouth_colours,
    tooth_like,
)
from talkingavatar.data.portrait.kernels import sample, trace
from talkingavatar.data.portrait.portrait import Portrait
from talkingavatar.data.portrait.sheet import Sheet
from talkingavatar.data.portrait.source import Animated, MotionSource
from talkingavatar.errors import UserError
from talkingavatar.geometry.similarity import head_angles, head_rotation, similarity
from talkingavatar.networks.mesh_code import POSE, MotionLatent, load_mesh_code
from talkingavatar.runtime.threads import in_order

MOST_TURN = {"pitch": 15.0, "yaw": 25.0, "roll": 20.0}  # degrees away from the portrait's own
SHIPPED = Path(__file__).with_name("mesh_code.npz")
BANK = "talk"  # the one bank: speakers drawn at random
MOST_FOLDED = 0.02  # share of the face
LIPS = 0.06  # of the teeth's width, by which the mesh's lips may lie over them
SEAM = 3 / 512  # of the picture's width
HIDDEN_MOUTH, HIDDEN_EYE, FAR = 0.3, 0.6, 0.2  # confidence in what was hidden; in surroundings that moved, and outlines
PLAIN = 0.5  # cosine between surface and view above which the portrait shows the surface plainly
MOVED = 0.15  # distances between the eyes, by which surroundings have moved for all of that


@dataclass(frozen=True)
class _Prepared:
    """What of a portrait is the same in every frame."""

    portrait: Portrait
    size: float  # metres between the eyes
    place: Float[Tensor, " 3"]  # of the head's origin before the camera
    rotation: Float[Tensor, "3 3"]
    rest: Float[Tensor, "N 3"]  # what the code does not hold of the portrait's mesh, in sizes
    screen: Float[ndarray, "N 3"]
    facing: Float[ndarray, " N"]  # 1 where the surface looks at the camera, 0 at its outline
    balls: Float[ndarray, "N 2"]
    eyes: dict[int, Eye]
    teeth: Teeth
    skin: UInt8[ndarray, "H W 3"]  # the picture, its lips without what lies behind them
    sheet: Sheet
    layers: Float[ndarray, "H W 4"]  # the picture and its matte
    moved: float  # pixels, by which surroundings have moved for all of that
    brightness: float  # of the skin


@final
class MeshWarp(MotionSource):
    """See the module."""

    name, version, licence = "mesh_warp", "1", "Apache-2.0, as the package"

    def __init__(self, mesh: FaceMesh, code: Path = SHIPPED) -> None:
        """
        Args:
            code: file of `experiment=mesh_code`; the package has one.

        Raises:
            UserError: the file is none, or was made for another body.
        """
        self.mesh = mesh
        kept = load_mesh_code(code)
        self.code, self.provenance, self.to_rig, self._bank = kept.network, kept.provenance, kept.to_rig, kept.bank
        if self.provenance["body"] != mesh.body.checksum:
            raise UserError(str(code), "a code of another body", f"one of {mesh.body.checksum[:12]}", "train it anew")
        self.takes = [Take(**take) for take in self.provenance["takes"]]  # of the bank
        self.dyn_dim, self.pose_dim = self.code.decoder.in_features, POSE
        self.mean, self.std = self._bank.dyn.mean(0), self._bank.dyn.std(0)
        self.kinds = kinds_of(mesh)
        self.faces = mesh.faces.numpy().astype(np.int32)
        self.rim = mesh.rim.numpy()
        self.upper_teeth = mesh.part("teeth_upper").nonzero()[:, 0].numpy()

    def read(self, portraits: list[Portrait]) -> MotionLatent:
        seen = torch.stack([p.mesh for p in portraits])
        neutral = torch.stack([p.neutral for p in portraits])
        scale, rotation, place = similarity(neutral[:, self.mesh.stiff], seen[:, self.mesh.stiff])
        moved = (place - place[0]) / self.mesh.size(neutral)[:, None]
        pose = torch.cat([scale.log()[:, None], head_angles(rotation), moved], 1)
        return MotionLatent(self.code.encode(unposed(self.mesh, seen, neutral)), pose)

    def animate(self, portrait: Portrait, latents: MotionLatent) -> Iterator[Animated]:
        prepared = self._prepare(portrait)
        return in_order(lambda latent: self._frame(prepared, *latent), zip(*latents, strict=True))

    def bank(self, name: str) -> MotionLatent:
        if name != BANK:
            raise UserError("bank", repr(name), BANK, "choose it")
        return self._bank

    def from_audio(self, samples: Float[ndarray, " n"], fps: float, seed: int) -> MotionLatent:
        raise UserError("audio", "speech", "a driver of this source: it has none yet", "drive it by a capture's motion")

    def _prepare(self, portrait: Portrait) -> _Prepared:
        mesh = self.mesh
        neutral = portrait.neutral[None]
        seen = portrait.mesh[None]
        _, rotation, place = similarity(neutral[:, mesh.stiff], seen[:, mesh.stiff])
        offsets = unposed(mesh, seen, neutral)
        rest = offsets - self.code.decode(self.code.encode(offsets))
        screen = portrait.project(portrait.mesh)
        width, height = portrait.size
        ids, _, _ = trace(screen, self.faces, screen[:, :1], width, height)
        shown = np.where(ids >= 0, self.kinds[self.faces[ids, 0]], -1.0).astype(np.float32)
        balls = self._balls(portrait.neutral)
        eyes = {kind: self._eye(kind, portrait, balls, screen, shown) for kind in (LEFT_EYE, RIGHT_EYE)}
        inside, skin = (shown >= TEETH) & (shown <= CAVITY), portrait.picture[shown == SKIN]
        teeth = tooth_like(portrait.picture, skin.mean(0))
        reach = max(1, round(LIPS * float(np.ptp(screen[self.upper_teeth, 0]))))
        apart = inside.sum() > LEAST_SHOWN
        return _Prepared(
            portrait=portrait,
            size=float(mesh.size(neutral)),
            place=place[0],
            rotation=rotation[0],
            rest=rest[0],
            screen=screen,
            facing=_facing_of(portrait.mesh, mesh.faces),
            balls=self._balls(neutral[0]),
            eyes=eyes,
            teeth=Teeth(screen[self.upper_teeth, :2], inside & teeth),
            skin=lips_alone(portrait.picture, inside, teeth, reach) if apart else portrait.picture,
            sheet=Sheet(portrait, screen[self.rim, :2].astype(np.float64), place[0], rotation[0]),
            layers=np.concatenate([portrait.picture, portrait.matte[..., None]], 2).astype(np.float32),
            moved=MOVED * float(mesh.size(neutral)) * portrait.K[0, 0] * float(screen[:, 2].mean()),
            brightness=float(skin.mean() / 255),
        )

    def _eye(
        self,
        kind: int,
        portrait: Portrait,
        balls: Float[ndarray, "N 2"],
        screen: Float[ndarray, "N 3"],
        shown: Float[ndarray, "H W"],
    ) -> Eye:
        own = self.kinds == kind
        z = portrait.neutral.numpy()[:, 2]
        front = own & (z > z[own].mean())
        return Eye(balls[front], screen[front, :2], shown == kind, portrait.picture)

    def _frame(self, prepared: _Prepared, dyn: Float[Tensor, " D"], pose: Float[Tensor, " 7"]) -> Animated:
        portrait = prepared.portrait
        moved = self.code.decode(dyn[None])[0] + prepared.rest
        head = prepared.portrait.neutral + prepared.size * moved
        rotation = head_rotation(pose[None, 1:4])[0]
        place = prepared.place + prepared.size * pose[4:7]
        screen = portrait.project(place + pose[0].exp() * head @ rotation.T)
        skull = portrait.project(place + pose[0].exp() * prepared.sheet.skull @ rotation.T)[:, :2]
        where, far = prepared.sheet.places(screen[self.rim, :2], skull)
        layers = sample(prepared.layers, where)
        confidence = 1 - (1 - FAR) * (far / prepared.moved).clip(0, 1)
        box, colours, alpha, doubt = self._face(prepared, head, screen)
        rgb, matte, beside = layers[..., :3][box], layers[..., 3][box], confidence[box]
        rgb += alpha[..., None] * (colours - rgb)
        np.maximum(matte, 255 * alpha * (matte > 0), out=matte)
        confidence[box] = np.where(alpha > 0, np.minimum(doubt, alpha + (1 - alpha) * beside), beside)
        pixels = np.rint(layers).clip(0, 255).astype(np.uint8)
        why = self._why_not(prepared, head, rotation)
        return Animated(
            np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3]), confidence, not why, why
        )

    def _face(
        self, prepared: _Prepared, head: Float[Tensor, "N 3"], screen: Float[ndarray, "N 3"]
    ) -> tuple[tuple[slice, slice], Float[ndarray, "h w 3"], Float[ndarray, "h w"], Float[ndarray, "h w"]]:
        """The box of pixels that face, eyes and mouth lie in; colours in [0, 255], coverage and confidence there."""
        width, height = prepared.portrait.size
        inner = 255 * mouth_colours(head, self.kinds, face_lips(self.mesh, head), prepared.brightness)
        values = np.concatenate([prepared.screen[:, :2], prepared.facing[:, None], inner, prepared.balls], 1)
        ids, _, found = trace(screen, self.faces, values.astype(np.float32), width, height)
        box = _box(ids >= 0)
        ids, found = ids[box], found[box]
        kind = np.where(ids >= 0, self.kinds[self.faces[ids, 0]], np.uint8(255))
        where, confidence = found[..., :2].copy(), (found[..., 2] / PLAIN).clip(FAR, 1)
        made, seen = self._mouth(prepared, kind, screen, where, (box[1].start, box[0].start))
        colours = sample(prepared.skin, where)
        colours[seen] = sample(prepared.portrait.picture, where[seen][None])[0]
        colours[made], confidence[made] = found[made][:, 3:6], HIDDEN_MOUTH
        for which, eye in prepared.eyes.items():
            mine = kind == which
            colours[mine], known = eye.looked_up(found[mine][:, 6:8])
            confidence[mine] = np.where(known, 1.0, HIDDEN_EYE)
        apart = distance_transform_edt(np.pad(ids >= 0, 1))[1:-1, 1:-1]
        alpha = (apart / max(1.0, SEAM * width)).clip(0, 1).astype(np.float32)
        return box, colours, alpha, confidence

    def _mouth(
        self,
        prepared: _Prepared,
        kind: UInt8[ndarray, "H W"],
        screen: Float[ndarray, "N 3"],
        where: Float[ndarray, "H W 2"],
        corner: tuple[int, int],
    ) -> tuple[Bool[ndarray, "H W"], Bool[ndarray, "H W"]]:
        """Look the mouth's own pixels up, in `where`; those that the portrait does not show, and those that it does.

        Args:
            corner: x, y of the first of these pixels in the whole picture.
        """
        # Where lips touch, single pixels of what lies behind come through: those are looked up where the lips were.
        mouth = binary_opening((kind >= TEETH) & (kind <= CAVITY))
        row, column = np.nonzero(mouth)
        at = np.stack([column + 0.5, row + 0.5], 1) + corner
        places, seen = prepared.teeth.places(screen[self.upper_teeth, :2], at)
        where[row[seen], column[seen]] = places[seen]
        shown = np.zeros_like(mouth)
        shown[row[seen], column[seen]] = True
        return mouth & ~shown, shown

    def _balls(self, neutral: Float[Tensor, "N 3"]) -> Float[ndarray, "N 2"]:
        """Of the eyes' vertices: from the ball's middle, where the eye looks ahead, metres."""
        out = np.zeros((len(self.kinds), 2), np.float32)
        for kind in (LEFT_EYE, RIGHT_EYE):
            ball = neutral.numpy()[self.kinds == kind, :2]
            out[self.kinds == kind] = ball - ball.mean(0)
        return out

    def _why_not(self, prepared: _Prepared, head: Float[Tensor, "N 3"], rotation: Float[Tensor, "3 3"]) -> str:
        """Why a frame is not to be learned from; nothing where it may be."""
        turned = torch.rad2deg(head_angles((rotation @ prepared.rotation.T)[None])[0])
        for (name, most), angle in zip(MOST_TURN.items(), turned.tolist(), strict=True):
            if abs(angle) > most:
                return f"{name} {angle:.0f} degrees from the portrait's, at most {most:.0f}"
        share = self.folded(prepared.portrait, head)
        return f"{100 * share:.1f} % of the face is folded" if share > MOST_FOLDED else ""

    def folded(self, portrait: Portrait, head: Float[Tensor, "N 3"]) -> float:
        """Share of the portrait's face whose triangles look backwards in a mesh in the head's frame."""
        skin = self.mesh.faces[self.mesh.skin[self.mesh.faces].all(1)]
        before = _facing(portrait.neutral[skin])
        after = _facing(head[skin])
        ahead = before > 0
        return float(before[ahead & (after < 0)].sum() / before[ahead].sum())


def _box(mask: Bool[ndarray, "H W"]) -> tuple[slice, slice]:
    """Rows and columns in which it is true; the whole where it is nowhere."""
    sides = [np.flatnonzero(mask.any(axis)) for axis in (1, 0)]
    return tuple(slice(int(side[0]), int(side[-1]) + 1) if len(side) else slice(0, None) for side in sides)  # type: ignore[return-value]


def _facing(corners: Float[Tensor, "F 3 3"]) -> Float[Tensor, " F"]:
    """z of the triangles' normals, as long as twice their areas."""
    return torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2]


def _facing_of(mesh: Float[Tensor, "N 3"], faces: Int[Tensor, "F 3"]) -> Float[ndarray, " N"]:
    """Cosine between the vertices' normals and the view on them, 0 where they look away."""
    corners = mesh[faces]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = torch.zeros_like(mesh).index_add_(0, faces.flatten(), normals.repeat_interleave(3, 0))
    view = -torch.nn.functional.normalize(mesh, dim=1)
    return (torch.nn.functional.normalize(sums, dim=1) * view).sum(1).clamp_min(0).numpy()
