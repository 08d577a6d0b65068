"""A baked avatar brought into the order that the kernels of `networks.cpu.baked` want, and frame by frame posed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from talkingavatar.networks.baked import Baked, Grid, Listener, Moment, Residual, pose_offsets
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
        first, looks_up = _first(avatar), _looks_up(avatar)
        moving, carriers = _array((skin.corners >= 0).any(1)), _array((weights.values != 0).sum(1))
        order = np.lexsort((carriers, looks_up, moving, first))
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
        self.basis = _array(skin.basis).reshape(-1, skin.basis.shape[2])
        self.skin = _array(skin.base), _array(skin.tangents), _array(skin.normals)
        self.joints, self.parents = _array(skeleton.joints), _array(skeleton.parents)
        self.directions = None if skeleton.directions is None else _array(skeleton.directions)
        self.anchor = np.empty((0, 4), f32) if skeleton.anchor is None else _array(skeleton.anchor)
        self.follow = f32(0 if skeleton.follow is None else float(skeleton.follow))
        carriers = len(self.joints) + (len(self.anchor) > 0)
        self.heard = self._listening()
        self.grid, self.nodes = _grid(avatar.grid, self._grouped(torch.from_numpy(looks_up)), carriers)
        self.blocks = NOTHING if avatar.residual is None else _blocks(avatar.residual, first[order], order)

    def _grouped(self, values: Tensor, fill: float = 0.0) -> ndarray:
        """Rows in the order of the groups, to whole ones; those added turn nothing and are nowhere."""
        found = _array(values)[self.numbers[: len(self.avatar)]]
        return np.concatenate([found, np.full((self.size - len(found), *found.shape[1:]), fill, found.dtype)])

    def __call__(self, moment: Moment) -> Gaussians:
        """World-space Gaussians of a moment (B = 1)."""
        expression, count = _array(moment.expression[0]), len(self.avatar)
        out = [np.empty((self.size, width), f32) for width in (3, 4, 3)]
        opacities, sh = self.opacities, self.sh
        if self.avatar.residual is not None:
            opacities, sh = (torch.cat([x, x[: self.size - count]]) for x in (opacities, sh))
        ranges, basis, steps, starts, columns, most, turns = self.blocks
        told = _evened(moment.residual[0], 0)
        changing = (ranges, basis.reshape(-1), basis.shape[2], steps, starts, told, columns, most, turns)
        if self.avatar.listener is not None:
            self._listen(self.avatar.listener, moment.residual[0])
        maps, table = self._carriers(moment, expression), self._table(moment, expression)
        voxels = (self.nodes @ maps).reshape(-1)
        carried, whole = (self.weights, maps.reshape(-1), self.grid, voxels), (*out, opacities.numpy(), sh.numpy())
        spread(pose, self.heard, changing, self.stands, self.moves, table, *carried, self.numbers, whole)
        means, quats, scales = (torch.from_numpy(x)[:count] for x in out)
        return Gaussians(means, quats, scales, opacities[:count], sh[:count])

    def _listening(self) -> ndarray:
        """The resting Gaussians, those that listen changed by each moment."""
        if self.avatar.listener is None:
            return self.rest
        place = np.empty(self.size, i32)
        place[self.numbers] = np.arange(self.size)
        self.listeners = place[_array(self.avatar.listener.rows)]
        return self.rest.copy()

    def _listen(self, listener: Listener, coefficients: Tensor) -> None:
        changes = _array(listener.changes(coefficients)).T
        rest = self.rest[:10, self.listeners]
        self.heard[:7, self.listeners] = rest[:7] + changes[:7]
        self.heard[7:10, self.listeners] = rest[7:] * np.exp(changes[7:])

    def _carriers(self, moment: Moment, expression: ndarray) -> ndarray:
        joints = self.joints if self.directions is None else self.joints + self.directions @ expression
        maps = np.zeros((len(joints) + (len(self.anchor) > 0), WIDE), f32)
        place = _array(moment.transl[0])
        chain(_array(moment.quats[0]), joints, self.parents, place, self.anchor, self.follow, maps)
        return maps

    def _table(self, moment: Moment, expression: ndarray) -> ndarray:
        skin = self.avatar.skin
        moved, further = (self.basis @ expression).reshape(-1, 9), np.empty((0, 3), f32)
        if skin.pose_basis is not None and skin.pose_features is not None:
            further = pose_offsets(skin.pose_basis, skin.pose_features, moment.quats[0]).numpy()
        table = np.empty((len(skin) + 1, WIDE), f32)
        spread(stretch_rows, moved, *self.skin, further, table)
        return table.reshape(-1)


def _looks_up(avatar: Baked) -> ndarray:
    """Which Gaussians look up the grid of skinning weights."""
    found = np.zeros(len(avatar), bool)
    if avatar.grid is not None:
        found[_array(avatar.grid.rows)] = True
    return found


def _grid(grid: Grid | None, looks_up: ndarray, carriers: int) -> tuple[tuple[ndarray, ...], ndarray]:
    """What `add_nodes` wants of it, and the weights of all carriers in its nodes (D J1)."""
    if grid is None:
        return (looks_up, np.empty((0, 0, 0), i32), np.empty(0, f32), np.empty(0, f32)), np.empty((0, carriers), f32)
    weights = np.zeros((len(grid.joints), carriers), f32)
    np.add.at(weights, (np.arange(len(weights))[:, None], _array(grid.joints)), _array(grid.values))
    return (looks_up, _array(grid.nodes), _array(grid.lower), _array(1 / grid.step)), weights


def _first(avatar: Baked) -> ndarray:
    """Where each Gaussian's coefficients begin; -1: it has none."""
    first, residual = np.full(len(avatar), -1, i32), avatar.residual
    if residual is not None:
        first[_array(residual.rows)] = 0 if residual.first is None else _array(residual.first)
    return first


# Without a residual.
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
    return _array(torch.nn.functional.pad(values, (0, len(values) % 2), value=fill))


def _array(values: Tensor) -> Any:
    return np.ascontiguousarray(values.detach().numpy())
