"""Shape directions, expression directions and joints of the open rig, all in the T-pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from talkingavatar.body.makehuman import (
    ORIGINS,
    BaseMesh,
    read_facial_actions,
    read_phenotype_targets,
    read_rig,
)
from talkingavatar.body.tpose import joint_weights, solve_tpose

SHAPE_COMPONENTS = 10
_SAMPLES = 60
_SPREADS = {"muscle": 0.2, "weight": 0.2, "height": 0.08, "proportions": 0.2}  # height: 8 cm in stature
_MEAN_PHENOTYPE = {"age": 0.75}  # everything else stands at 0.5


@dataclass(frozen=True)
class ShapeSpace:
    """The whole base mesh as template plus linear directions (metres per unit coefficient)."""

    template: Float[np.ndarray, "V 3"]
    weights: Float[np.ndarray, "V 55"]
    shapedirs: Float[np.ndarray, "V 3 S"]  # coefficients have unit variance over the sampled adults
    expressiondirs: Float[np.ndarray, "V 3 E"]
    expression_names: list[str]
    joints: Float[np.ndarray, "55 3"]
    joint_shapedirs: Float[np.ndarray, "55 3 S"]


def fit_shape_space(mesh: BaseMesh) -> ShapeSpace:
    """Principal directions of sampled adult phenotypes, each brought to the T-pose by its own joints."""
    count = len(mesh.vertices)
    targets, rig = read_phenotype_targets(count), read_rig(mesh)
    weights = joint_weights(rig, count)

    def tpose(phenotype: dict[str, float]) -> Float[np.ndarray, "P 3"]:
        shape = mesh.vertices + targets.shape(phenotype)
        pose = solve_tpose({bone: shape[ids].mean(0) for bone, ids in rig.head_vertices.items()})
        return np.concatenate([pose.points(shape, weights), pose.joints])

    mean = tpose(_MEAN_PHENOTYPE)
    offsets = np.stack([tpose(p) - mean for p in _sample_phenotypes()])
    attached = np.zeros(len(mean), bool)
    attached[np.unique(mesh.quads["body"])] = True
    directions = _principal_directions(offsets, attached)
    names, actions = read_facial_actions(count)  # the T-pose does not turn the head, so they need no rotation
    return ShapeSpace(
        np.round(mean[:count], 7) + 0.0,  # no negative zeros
        weights,
        directions[:count],
        actions.transpose(1, 2, 0),
        names,
        mean[count:],
        directions[count:],
    )


def _sample_phenotypes() -> list[dict[str, float]]:
    random = np.random.default_rng(0)
    samples = []
    for _ in range(_SAMPLES):
        axes = {axis: float(random.normal(0.5, spread)) for axis, spread in _SPREADS.items()}
        axes |= {"gender": float(random.uniform()), "age": float(random.uniform(2 / 3, 0.95))}
        shares = dict(zip(ORIGINS, random.dirichlet([1, 1, 1]).tolist(), strict=True))
        samples.append({name: min(max(value, 0.0), 1.0) for name, value in (axes | shares).items()})
    return samples


def _principal_directions(offsets: Float[np.ndarray, "n P 3"], counted: np.ndarray) -> Float[np.ndarray, "P 3 S"]:
    """Directions of all P points whose coefficients are the principal scores of the `counted` ones.

    Signs are fixed (the largest entry of each direction is positive) and the last digits rounded off, so that
    the result does not depend on the linear algebra library.
    """
    flat = offsets[:, counted].reshape(len(offsets), -1)
    values, vectors = np.linalg.eigh(flat @ flat.T)
    scores = vectors[:, np.argsort(values)[::-1][:SHAPE_COMPONENTS]]
    directions = np.einsum("nk,npc->pck", scores, offsets) / np.sqrt(len(offsets))
    columns = directions.reshape(-1, SHAPE_COMPONENTS)
    largest = columns[np.abs(columns).argmax(0), np.arange(SHAPE_COMPONENTS)]
    return np.round(directions * np.sign(largest), 7)


def fit_joint_regressor(
    vertices: Float[np.ndarray, "V 3"],
    shapedirs: Float[np.ndarray, "V 3 S"],
    expressiondirs: Float[np.ndarray, "V 3 E"],
    joints: Float[np.ndarray, "J 3"],
    joint_shapedirs: Float[np.ndarray, "J 3 S"],
    neighbours: int = 600,
) -> Float[np.ndarray, "J V"]:
    """Weights of nearby vertices that give each joint exactly, for every shape, unmoved by any expression.

    A joint has 3 (1 + S) numbers to reproduce and 3 E to leave at zero; among the many weights that do, the
    smallest are taken, where far vertices cost more.
    """
    regressor = np.zeros((len(joints), len(vertices)))
    for j, (joint, moves) in enumerate(zip(joints, joint_shapedirs, strict=True)):
        distance = np.linalg.norm(vertices - joint, axis=1)
        near = np.argsort(distance, kind="stable")[:neighbours]
        actions = expressiondirs[near].reshape(len(near), -1).T
        actions = actions[actions.any(1)]  # none away from the face
        rows = [np.ones((1, len(near))), vertices[near].T, shapedirs[near].reshape(len(near), -1).T, actions]
        wanted = np.concatenate([[1.0], joint, moves.ravel(), np.zeros(len(actions))])
        scale = 1 / np.maximum(distance[near], 0.01)
        matrix = np.concatenate(rows) * scale
        # Through the small Gram matrix: threaded SVDs of 600 columns crawl on a busy machine.
        values, vectors = np.linalg.eigh(matrix @ matrix.T)
        kept = values > 1e-11 * values[-1]
        solution = matrix.T @ (vectors[:, kept] @ (vectors[:, kept].T @ wanted / values[kept]))
        regressor[j, near] = np.round(solution * scale, 7)
    return regressor
