"""A baked avatar brought into the order that the kernels of `networks.cpu.baked` want, and frame by frame posed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import pad

from talkingavatar.networks.baked import Baked, Grid, Listener, Moment, Residual, pose_features
from talkingavatar.networks.cpu.baked import WIDE, chain, pose, stretch_rows
from talkingavatar.splatting.cpu.launch import spread
from talkingavatar.types import Gaussians

f32, i32 = np.float32, np.int32
GROUP = 8  # Gaussians
NOBODY = 14  # number of an attribute that there is not


class Poser:
    """`networks.baked.posed` of one avatar on a CPU.

    Gaussians that change, that stand on skin that moves and that hang on one joint are put beside each other, so that
    few groups do what some of their eight do not need.
    """

    def __init__(self, avatar: Baked) -> None:
        self.avatar = avatar
        raw, skin, skeleton, weights = avatar.gaussians, avatar.skin, avatar.skeleton, avatar.weights
        self.opacities, self.sh = raw.opacities.sigmoid(), raw.sh
        self.size = len(avatar) + -len(avatar) % GROUP
        first, looks_up = _first(avatar), _among(avatar.grid, len(avatar))
        moving, carriers = _array((skin.corners >= 0).any(1)), _array((weights.values != 0).sum(1))
        order = np.lexsort((carriers, looks_up, moving, first, _among(avatar.listener, len(avatar))))
        self.numbers = np.concatenate([order, np.arange(len(avatar), self.size)]).astype(i32)
        still = torch.cat(
            [raw.means, raw.quats, raw.log_scales.exp(), skin.resting, (-raw.opacities)[:, None].exp(), raw.sh[:, 0]], 1
        )
        self.rest = np.ascontiguousarray(self._grouped(still).T)
        corners = self._grouped(skin.corners, -1)
        self.moves = (corners >= 0).reshape(-1, 3 * GROUP).any(1)
        self.stands = np.where(corners < 0, len(skin), corners).astype(i32), self._grouped(skin.shares)
        largest = weights.values.abs().argsort(1, descending=True)
        self.weights = tuple(self._grouped(x.gather(1, largest)) for x in (weights.joints, weights.values))
        self.skin = _array(skin.base), _array(skin.tangents), _array(skin.normals)
        self.joints, self.directions, self.parents = skeleton.joints, skeleton.directions, _array(skeleton.parents)
        self.anchor = np.empty((0, 4), f32) if skeleton.anchor is None else _array(skeleton.anchor)
        self.follow = f32(0 if skeleton.follow is None else float(skeleton.follow))
        carriers = len(self.joints) + (len(self.anchor) > 0)
        self.listener: tuple[Any, ...] = DEAF if avatar.listener is None else self._listening(avatar.listener)
        self.grid, self.nodes = _grid(avatar.grid, self._grouped(torch.from_numpy(looks_up)), carriers)
        self.blocks = NOTHING if avatar.residual is None else _blocks(avatar.residual, first[order], order)

    def _grouped(self, values: Tensor, fill: float = 0.0) -> ndarray:
        """Rows in the order of the groups, to whole ones; those added turn nothing and are nowhere."""
        found = _array(values)[self.numbers[: len(self.avatar)]]
        return np.concatenate([found, np.full((self.size - len(found), *found.shape[1:]), fill, found.dtype)])

    def _listening(self, listener: Listener) -> tuple[Any, ...]:
        """Which of the groups that listen each is (-1: none), and what `hear` wants of them beside the sound."""
        place = np.empty(self.size, i32)
        place[self.numbers] = np.arange(self.size)
        spots = place[_array(listener.rows)]
        groups, own = np.unique(spots // GROUP, return_inverse=True)
        hears = np.full(self.size // GROUP, -1, i32)
        hears[groups] = np.arange(len(groups))

        def grouped(values: Tensor) -> ndarray:
            of_each = np.zeros((len(groups), values.shape[1], GROUP), f32)
            of_each[own, :, spots % GROUP] = _array(values)
            return of_each.reshape(-1)

        biased = (listener.second, listener.second_bias, listener.third, listener.third_bias)
        layers = [_fours(x) for x in (listener.first, *biased, listener.last, listener.last_bias)]
        counts = listener.ears.shape[1], len(listener.second), len(layers[2]), len(layers[6])
        each = [grouped(x) for x in (listener.ears, listener.places, torch.ones(len(spots), 1))]
        return hears, *counts, *each[:2], *(x.reshape(-1) for x in layers), each[2]

    def __call__(self, moments: Moment) -> list[Gaussians]:
        """World-space Gaussians of each of some moments, which are made together: what is read, is read once."""
        frames, count = len(moments), len(self.avatar)
        out = [np.empty((frames, self.size, width), f32) for width in (3, 4, 3)]
        opacities, sh = (x.expand(frames, *x.shape) for x in (self.opacities, self.sh))
        looks = np.empty((0, 0), f32), np.empty((0, 0, 0, 3), f32)
        if self.avatar.residual is not None:
            opacities, sh = (torch.cat([x, x[:, : self.size - count]], 1) for x in (opacities, sh))
            looks = opacities.numpy(), sh.numpy()
        ranges, basis, steps, starts, columns, most, turns = self.blocks
        told, wide = pad(moments.residual, (0, 1)).reshape(-1).numpy(), moments.residual.shape[1] + 1  # see `_blocks`
        changing = (ranges, basis.reshape(-1), basis.shape[2], steps, starts, wide, told, columns, most, turns)
        maps, table = self._carriers(moments), self._table(moments)
        voxels = np.empty(0, f32) if self.nodes is None else _array(self.nodes @ maps.flatten(1)).reshape(-1)
        carried = self.weights, _array(maps).reshape(-1), self.grid, voxels
        known = self.rest, changing, self._hearing(moments), self.stands, self.moves, table, *carried, self.numbers
        spread(pose, *known, (*out, *looks))
        means, quats, scales = (torch.from_numpy(x)[:, :count] for x in out)
        each = means, quats, scales, opacities[:, :count], sh[:, :count]
        return [Gaussians(*(x[f] for x in each)) for f in range(frames)]

    def _hearing(self, moments: Moment) -> tuple[Any, ...]:
        hears, channels, *counts, ears, places = self.listener[:7]
        sound = _array(moments.residual[:, moments.residual.shape[1] - channels :]).reshape(-1)
        return hears, channels, *counts, ears, sound, places, *self.listener[7:]

    def _carriers(self, moments: Moment) -> Float[Tensor, "J1 F 16"]:
        joints = self.joints.repeat(len(moments), 1, 1)
        if self.directions is not None:
            joints += (moments.expression @ self.directions.flatten(0, 1).mT).unflatten(1, (-1, 3))
        maps = np.zeros((len(moments), joints.shape[1] + (len(self.anchor) > 0), WIDE), f32)
        for quats, place, rest, into in zip(*map(_array, (moments.quats, moments.transl, joints)), maps, strict=True):
            chain(quats, rest, self.parents, place, self.anchor, self.follow, into)
        return torch.from_numpy(maps).transpose(0, 1).contiguous()

    def _table(self, moments: Moment) -> ndarray:
        """Products by torch: numpy's own threads never rest."""
        skin, frames = self.avatar.skin, len(moments)
        moved, further = skin.basis.flatten(0, 1) @ moments.expression.mT, torch.empty(0, 3, frames)
        if skin.pose_basis is not None and skin.pose_features is not None:
            turns = pose_features(skin.pose_features, moments.quats)
            further = (skin.pose_basis.flatten(0, 1) @ turns.mT).unflatten(0, (-1, 3))
        table = np.empty((len(skin) + 1, frames, WIDE), f32)
        spread(stretch_rows, _array(moved.unflatten(0, (-1, 9))), *self.skin, _array(further), table)
        return table.reshape(-1)


def _among(part: Grid | Listener | None, count: int) -> ndarray:
    """Which Gaussians have it."""
    found = np.zeros(count, bool)
    if part is not None:
        found[_array(part.rows)] = True
    return found


def _grid(grid: Grid | None, looks_up: ndarray, carriers: int) -> tuple[tuple[ndarray, ...], Tensor | None]:
    """What `add_nodes` wants of it, and the weights of all carriers in its nodes (D J1)."""
    if grid is None:
        return (looks_up, np.empty((0, 0, 0), i32), np.empty(0, f32), np.empty(0, f32)), None
    weights = np.zeros((len(grid.joints), carriers), f32)
    np.add.at(weights, (np.arange(len(weights))[:, None], _array(grid.joints)), _array(grid.values))
    return (looks_up, _array(grid.nodes), _array(grid.lower), _array(1 / grid.step)), torch.from_numpy(weights)


def _first(avatar: Baked) -> ndarray:
    """Where each Gaussian's coefficients begin; -1: it has none."""
    first, residual = np.full(len(avatar), -1, i32), avatar.residual
    if residual is not None:
        first[_array(residual.rows)] = 0 if residual.first is None else _array(residual.first)
    return first


# Without a listener, and without a residual.
DEAF = (np.empty(0, i32), 0, 0, 0, 0, *10 * [np.empty(0, f32)])
NOTHING = (
    np.empty(0, i32), np.empty((0, 0, 0, GROUP), np.int16), np.empty((0, 0), f32), np.empty(0, i32), np.empty(0, i32),
    np.empty(0, f32), np.empty(0, f32),
)  # fmt: skip


def _blocks(residual: Residual, first: ndarray, order: ndarray) -> tuple[ndarray, ...]:
    """Where each group's blocks begin; blocks (B C R 8), whole numbers of steps (B C), and their first coefficients;
    columns, limits, and turns (G 4 8). Halved so, a frame reads them in half of the time.

    Args:
        first, order: of the Gaussians as they are grouped; their numbers.
    """
    groups, (_, columns, directions) = -(-len(order) // GROUP), residual.basis.shape
    row = np.full(len(order), -1)
    row[_array(residual.rows)] = np.arange(len(residual.rows))
    row, place = row[order], np.arange(len(order))
    row, place, first = row[row >= 0], place[row >= 0], first[row >= 0]
    keys, block = np.unique(np.stack([place // GROUP, first]), axis=1, return_inverse=True)
    blocks = np.zeros((keys.shape[1], columns + columns % 2, directions + directions % 2, GROUP), f32)
    blocks[block.ravel(), :columns, :directions, place % GROUP] = _array(residual.basis)[row]
    steps = np.maximum(np.abs(blocks).max((2, 3)) / np.iinfo(np.int16).max, np.finfo(f32).tiny)
    whole = np.rint(blocks / steps[..., None, None]).astype(np.int16)
    ranges = np.searchsorted(keys[0], np.arange(groups + 1)).astype(i32)
    most = np.empty(0, f32) if residual.most is None else _evened(residual.most, 0)
    turns = np.empty(0, f32)
    if residual.turns is not None:
        placed = np.zeros((groups * GROUP, 4), f32)
        placed[place] = _array(residual.turns)[row]
        turns = np.ascontiguousarray(placed.reshape(-1, GROUP, 4).transpose(0, 2, 1)).reshape(-1)
    return ranges, whole, steps.astype(f32), keys[1].astype(i32), _evened(residual.columns, NOBODY), most, turns


def _evened(values: Tensor, fill: float) -> ndarray:
    """An even number of them."""
    return _array(pad(values, (0, len(values) % 2), value=fill))


def _fours(values: Tensor) -> ndarray:
    """A multiple of four rows."""
    return np.concatenate([_array(values), np.zeros((-len(values) % 4, *values.shape[1:]), f32)])


def _array(values: Tensor) -> Any:
    return np.ascontiguousarray(values.detach().numpy())
