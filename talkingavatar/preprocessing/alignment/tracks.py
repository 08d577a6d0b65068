"""Places on the person that are found again in other frames, and so tell the body's motion to a fraction of a pixel.

Landmarks lie a pixel or three off, differently in each frame, and there are none on hair, ears, clothes and outlines.
The picture shows how all of these move. So patches of it are taken from a few frames, tied to the body's surface
there, and looked for in every frame round the place that the fitted body gives them. By how much a patch is off in all
frames alike says nothing of motion and is taken out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.body import Body
from talkingavatar.data.visible_mesh import VisibleMesh
from talkingavatar.preprocessing.alignment.variables import Variables
from talkingavatar.preprocessing.keypoints import LEFT_HAND, RIGHT_HAND, Keypoints
from talkingavatar.preprocessing.patches import HALF, cut, grey, peaks, search, strengths, structure
from talkingavatar.runtime.threads import in_order

REFERENCES, PLACES = 8, 60  # frames that patches are taken from, and how many from each
APART = 11  # pixels between patches of one frame
EDGE = 4.0  # squared grey levels a pixel by which a patch must differ from its neighbours on two sides at least
REACH = 8  # pixels that a patch is looked for from where the fitted body has it
PULL = 0.001  # correlation that a squared pixel costs
SAME = 0.75  # correlation above which a patch is found again
OFTEN = 0.2  # share of the frames in which it must be
BESIDE = 0.06  # metres from the body's surface: hair and clothes
BESIDE_HEAD = 0.02  # the same for a head alone, which does not carry clothes
MARGIN = 0.05  # of the face's width, round eyes and mouth, which move by themselves
# Landmarks of the 68 that are left to the face's own points, and the picture's hands to the fingers'.
_EYES_MOUTH = (slice(36, 42), slice(42, 48), slice(48, 68))

Picture = Callable[[int], UInt8[ndarray, "H W 3"]]


@dataclass(frozen=True)
class Tracks:
    """M places on a body over T frames."""

    vertices: Int[Tensor, " M"]  # the nearest of the body's
    offsets: Float[Tensor, "M 3"]  # from it, metres in the rest pose
    target: Float[Tensor, "T M 2"]  # pixels from the picture's centre
    seen: Bool[Tensor, "T M"]
    precision: Float[Tensor, "M 2 2"]  # 1 across the strongest edge of a patch, near 0 along a straight one


def follow(
    variables: Variables,
    body: Body,
    keypoints: Keypoints,
    picture: Picture,
    width: int,
    height: int,
    tick: Callable[[], None],
) -> Tracks:
    """Follow places on the person through a clip.

    Args:
        variables: the fit so far, right to a few pixels.
        body: that was fitted.
        keypoints: as detected; patches are not taken from eyes, mouth and hands.
        picture: the person on a plain background, of a frame by its number.
        width, height: of the pictures, pixels.
        tick: called after each frame.
    """
    count = len(keypoints)
    references = np.unique(np.linspace(0, count - 1, 2 * REFERENCES + 1)[1::2].round().astype(int)).tolist()
    mesh = VisibleMesh(body.faces)
    parts = [_places(variables.frames([r]), body, mesh, keypoints.frames([r]), grey(picture(r))) for r in references]
    vertices, offsets = torch.cat([p.vertices for p in parts]), torch.cat([p.offsets for p in parts])
    patches = np.concatenate([p.patches for p in parts])
    centre = np.array([width / 2, height / 2])
    with torch.no_grad():
        placed = variables.project(variables.surface(body, vertices, offsets)) * max(width, height)
    guess = placed.double().numpy() + centre

    def look(frame: int) -> tuple[Float[ndarray, "M 2"], Float[ndarray, " M"]]:
        return search(grey(picture(frame)), patches, guess[frame], REACH, PULL)

    found, scores = np.empty_like(guess), np.empty(guess.shape[:2])
    for frame, result in enumerate(in_order(look, range(count))):
        found[frame], scores[frame] = result
        tick()
    seen = scores > SAME
    seen &= seen.mean(0) > OFTEN
    off = np.ma.masked_array(found - guess, np.broadcast_to(~seen[..., None], found.shape))
    target = found - np.ma.median(off, axis=0).filled(0.0) - centre
    precision = torch.cat([p.precision for p in parts])
    return Tracks(vertices, offsets, torch.from_numpy(target).float(), torch.from_numpy(seen), precision)


@dataclass(frozen=True)
class _Places:
    """Of one frame; vertices, offsets and precision as in `Tracks`."""

    vertices: Int[Tensor, " n"]
    offsets: Float[Tensor, "n 3"]
    precision: Float[Tensor, "n 2 2"]
    patches: Float[ndarray, "n P P"]


def _places(
    variables: Variables, body: Body, mesh: VisibleMesh, keypoints: Keypoints, picture: Float[ndarray, "H W"]
) -> _Places:
    height, width = picture.shape
    xx, yy, xy = structure(picture)
    _, stronger = strengths(xx, yy, xy)
    centres = peaks(stronger, _left_out(keypoints, height, width), EDGE, APART, PLACES)
    vertices, offsets, beside = _tied(variables, body, mesh, centres, width, height)
    near = beside < (BESIDE if "pelvis" in body.joint_names else BESIDE_HEAD)
    x, y = centres[near].astype(int).T
    slopes = np.array([[xx[y, x], xy[y, x]], [xy[y, x], yy[y, x]]]).transpose(2, 0, 1)
    precision = torch.from_numpy(slopes / stronger[y, x, None, None]).float()
    return _Places(vertices[near], offsets[near], precision, cut(picture, centres[near]))


def _left_out(keypoints: Keypoints, height: int, width: int) -> Bool[ndarray, "H W"]:
    """False round eyes, mouth and hands of this frame."""
    where = np.ones((height, width), bool)
    face = keypoints.face68()[0, :, :2]
    margin = MARGIN * float(np.nan_to_num(np.linalg.norm(face[16] - face[0])))
    parts = [(face[rows], margin) for rows in _EYES_MOUTH]
    parts += [(keypoints.points[0, rows, :2], HALF) for rows in (LEFT_HAND, RIGHT_HAND)]
    for points, grown in parts:
        points = points[np.isfinite(points).all(1)]
        if len(points):
            (left, top), (right, bottom) = (points.min(0) - grown).astype(int), (points.max(0) + grown).astype(int)
            where[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = False
    return where


@torch.no_grad()
def _tied(
    variables: Variables, body: Body, mesh: VisibleMesh, centres: Float[ndarray, "n 2"], width: int, height: int
) -> tuple[Int[Tensor, " n"], Float[Tensor, "n 3"], Float[Tensor, " n"]]:
    """The nearest visible vertex of each pixel, the offset to it at that depth (at rest), and its length, metres."""
    K = variables.intrinsics(width, height)
    every = torch.arange(len(body.v_template))
    placed = variables.surface(body, every, torch.zeros(len(every), 3))[0]
    faces, screen = mesh.seen(placed.numpy(), K.double().numpy(), np.eye(4), width, height)
    visible = np.unique(mesh.faces[np.unique(faces[faces >= 0])])
    if not len(visible):
        return every[:1].expand(len(centres)), torch.zeros(len(centres), 3), torch.full((len(centres),), torch.inf)
    nearest = np.linalg.norm(centres[:, None] - screen[visible], axis=-1).argmin(1)
    vertices = torch.from_numpy(visible[nearest]).long()
    at = placed[vertices]
    ray = torch.cat([(torch.from_numpy(centres).float() - K[:2, 2]) / K[0, 0], torch.ones(len(at), 1)], 1)
    off = ray * at[:, 2:] - at
    axes = [variables.surface(body, vertices, axis.expand(len(at), 3))[0] - at for axis in torch.eye(3)]
    offsets = torch.linalg.solve(torch.stack(axes, -1), off[..., None])[..., 0]
    return vertices, offsets, off.norm(dim=-1)
