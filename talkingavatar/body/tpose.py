"""The 55 SMPL-X joints on the MakeHuman rig, and the T-pose that SMPL-X files keep their template in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from talkingavatar.body.makehuman import Rig

FINGERS = ("index", "middle", "pinky", "ring", "thumb")  # in the order of SMPL-X
_BONE_OF_FINGER = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}
_BONE_PAIRS = (  # SMPL-X name without side, MakeHuman bone without side, parent
    ("hip", "upperleg01", "pelvis"),
    ("knee", "lowerleg01", "hip"),
    ("ankle", "foot", "knee"),
    ("foot", "toe2-1", "ankle"),
    ("collar", "clavicle", "spine3"),
    ("shoulder", "upperarm01", "collar"),
    ("elbow", "lowerarm01", "shoulder"),
    ("wrist", "wrist", "elbow"),
)
JOINT_NAMES: tuple[str, ...] = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle"),
    *("right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("jaw", "left_eye_smplhf", "right_eye_smplhf"),
    *(f"{side}_{finger}{k}" for side in ("left", "right") for finger in FINGERS for k in (1, 2, 3)),
)
FLAME_JOINTS = ("neck", "head", "jaw", "left_eye_smplhf", "right_eye_smplhf")  # FLAME's 5, as SMPL-X joints


def _tree() -> tuple[dict[str, str], dict[str, str]]:
    """Parent joint and MakeHuman bone of every joint."""
    parents = {"pelvis": "", "spine1": "pelvis", "spine2": "spine1", "spine3": "spine2", "neck": "spine3"}
    parents |= {"head": "neck", "jaw": "head", "left_eye_smplhf": "head", "right_eye_smplhf": "head"}
    bones = {
        "pelvis": "root",
        "spine1": "spine04",
        "spine2": "spine03",
        "spine3": "spine02",
        "neck": "neck01",
    }
    bones |= {"head": "head", "jaw": "jaw", "left_eye_smplhf": "eye.L", "right_eye_smplhf": "eye.R"}
    for side, letter in (("left", "L"), ("right", "R")):
        for name, bone, parent in _BONE_PAIRS:
            parents[f"{side}_{name}"] = parent if parent in parents else f"{side}_{parent}"
            bones[f"{side}_{name}"] = f"{bone}.{letter}"
        for finger in FINGERS:
            for k in (1, 2, 3):
                parents[f"{side}_{finger}{k}"] = f"{side}_{finger}{k - 1}" if k > 1 else f"{side}_wrist"
                bones[f"{side}_{finger}{k}"] = f"finger{_BONE_OF_FINGER[finger]}-{k}.{letter}"
    return parents, bones


PARENT_OF, BONE_OF = _tree()
PARENTS = np.array([JOINT_NAMES.index(PARENT_OF[j]) if PARENT_OF[j] else -1 for j in JOINT_NAMES])


def joint_weights(rig: Rig, vertex_count: int) -> Float[np.ndarray, "V 55"]:
    """Skinning weights of the 55 joints; a bone that is none gives its weight to the next joint above."""
    joint_of = {bone: JOINT_NAMES.index(joint) for joint, bone in BONE_OF.items()}
    weights = np.zeros((vertex_count, len(JOINT_NAMES)))
    for bone, (vertices, values) in rig.weights.items():
        owner = bone
        while owner not in joint_of:
            owner = rig.parents[owner] or BONE_OF["pelvis"]
        weights[vertices, joint_of[owner]] += values
    return weights / weights.sum(1, keepdims=True)


@dataclass(frozen=True)
class TPose:
    """Global rotations and joints that bring one shape from MakeHuman's stance to the T-pose."""

    rotations: Float[np.ndarray, "55 3 3"]
    rest: Float[np.ndarray, "55 3"]
    joints: Float[np.ndarray, "55 3"]

    def points(self, points: Float[np.ndarray, "V 3"], weights: Float[np.ndarray, "V 55"]) -> Float[np.ndarray, "V 3"]:
        """Linear blend skinning of points."""
        offsets = self.joints - np.einsum("jab,jb->ja", self.rotations, self.rest)
        return self.directions(points, weights) + weights @ offsets

    def directions(
        self, directions: Float[np.ndarray, "V 3"], weights: Float[np.ndarray, "V 55"]
    ) -> Float[np.ndarray, "V 3"]:
        blended = (weights @ self.rotations.reshape(-1, 9)).reshape(-1, 3, 3)
        return np.einsum("vab,vb->va", blended, directions)


def solve_tpose(heads: Mapping[str, Float[np.ndarray, "3"]]) -> TPose:
    """Straighten arms and fingers: upper arm, forearm and hand along +-x, palms down, fingers flat.

    MakeHuman stands with arms down, elbows bent by 41 degrees and curled fingers, whereas zero SMPL-X pose
    (with `flat_hand_mean`) means straight limbs. `heads` are the bone heads of the shape.
    """
    rest = np.stack([heads[BONE_OF[j]] for j in JOINT_NAMES])
    index = {name: i for i, name in enumerate(JOINT_NAMES)}
    rotations = np.tile(np.eye(3), (len(JOINT_NAMES), 1, 1))
    for i, name in enumerate(JOINT_NAMES):
        if not PARENT_OF[name]:
            continue
        inherited = rotations[PARENTS[i]]
        rotations[i] = inherited
        side, _, part = name.partition("_")
        x = np.array([1.0 if side == "left" else -1.0, 0, 0])
        if part in _AIMS:
            segment = rest[index[f"{side}_{_AIMS[part]}"]] - rest[i]
            rotations[i] = rotation_between(inherited @ segment, x) @ inherited
            if part == "wrist":
                rotations[i] = _palm_down(rotations[i], rest, index, side) @ rotations[i]
        elif part[:-1] in FINGERS and part[:-1] != "thumb" and part[-1] in "12":
            # Tips have no joint: the last phalanx turns with the middle one.
            segment = inherited @ (rest[index[f"{side}_{part[:-1]}{int(part[-1]) + 1}"]] - rest[i])
            flat = segment * [1, 0, 1] if part[-1] == "1" else rotations[PARENTS[i]] @ (rest[i] - rest[PARENTS[i]])
            rotations[i] = rotation_between(segment, flat) @ inherited
    joints = rest.copy()
    for i in range(1, len(rest)):
        joints[i] = joints[PARENTS[i]] + rotations[PARENTS[i]] @ (rest[i] - rest[PARENTS[i]])
    return TPose(rotations, rest, joints)


_AIMS = {"shoulder": "elbow", "elbow": "wrist", "wrist": "middle1"}


def _palm_down(
    rotation: Float[np.ndarray, "3 3"], rest: Float[np.ndarray, "55 3"], index: Mapping[str, int], side: str
) -> Float[np.ndarray, "3 3"]:
    """Turn about x that brings the knuckles level: index finger in front of the little finger."""
    across = rotation @ (rest[index[f"{side}_index1"]] - rest[index[f"{side}_pinky1"]])
    return rotation_between(across * [0, 1, 1], np.array([0, 0, 1.0]))


def rotation_between(a: Float[np.ndarray, "3"], b: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """The smallest rotation that takes direction a to direction b (not opposite)."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    k = np.cross(a, b)
    K = np.array([[0, -k[2], k[1]], [k[2], 0, -k[0]], [-k[1], k[0], 0]])
    return np.eye(3) + K + K @ K / (1 + a @ b)
