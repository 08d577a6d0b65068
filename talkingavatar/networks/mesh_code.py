"""A code of face motion: 32 numbers of a mesh's offsets from its neutral, free of pose and of whose face it is.

The motion latent of VASA-1 and LivePortrait is read from pixels by networks that days of training made. Here it is read
from a mesh: one linear map to the code, one back. What is learned is which 32 directions hold the most of what is seen
of talking faces, and hold it of one face as of another.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from talkingavatar.errors import UserError
from talkingavatar.runtime.files import whole

DYN, POSE = 32, 7
WEIGHTS = ("encoder.weight", "decoder.weight")
ARRAYS = (*WEIGHTS, "bank_dyn", "bank_pose", "to_rig")
EVERY = 4  # vertices, of which the encoder reads one: neighbours say the same
RIDGE = 1e-4  # of the start's encoder, in the mean square of what it reads


class MotionLatent(NamedTuple):
    """Of T frames. `pose`: log scale, pitch, yaw, roll (radians), and where the head is, in distances between the eyes
    from where it was at first: to its left, up, and towards the camera.
    """

    dyn: Float[Tensor, "T D"]
    pose: Float[Tensor, "T 7"]


class MeshCode(nn.Module):
    """Offsets of N vertices, in distances between the eyes, to D numbers and back; zero stays zero."""

    def __init__(self, vertices: int, dyn: int = DYN) -> None:
        super().__init__()
        self.encoder = nn.Linear(3 * len(range(0, vertices, EVERY)), dyn, bias=False)
        self.decoder = nn.Linear(dyn, 3 * vertices, bias=False)

    def encode(self, offsets: Float[Tensor, "T N 3"]) -> Float[Tensor, "T D"]:
        return self.encoder(offsets[:, ::EVERY].flatten(1))

    def decode(self, dyn: Float[Tensor, "T D"]) -> Float[Tensor, "T N 3"]:
        return self.decoder(dyn).unflatten(1, (-1, 3))

    @torch.no_grad()
    def start(self, offsets: Float[Tensor, "M N 3"], weight: Float[Tensor, " N"]) -> None:
        """The principal directions of some motions, each as wide as they are; `weight` of each vertex's square."""
        root = weight.sqrt().repeat_interleave(3)
        scaled = offsets.flatten(1) * root
        # Second moments about the neutral, not about the mean: no motion has code zero.
        strength, sides = torch.linalg.eigh(scaled @ scaled.T)
        count = min(self.decoder.in_features, len(scaled))
        strength, sides = strength.flip(0)[:count].clamp_min(1e-12), sides.flip(1)[:, :count]
        codes = sides * len(scaled) ** 0.5
        self.decoder.weight.zero_()
        self.encoder.weight.zero_()
        self.decoder.weight[:, :count] = (scaled.T @ codes / len(scaled)) / root[:, None]
        read = offsets[:, ::EVERY].flatten(1)
        alike = read @ read.T
        alike += RIDGE * alike.diagonal().mean() * torch.eye(len(read))
        self.encoder.weight[:count] = torch.linalg.solve(alike, codes).T @ read

    @torch.no_grad()
    def whiten(self, offsets: Float[Tensor, "M N 3"]) -> None:
        """Turn the code so that these motions have numbers of mean square 1 that go each their own way."""
        dyn = self.encode(offsets)
        strength, axes = torch.linalg.eigh(dyn.T @ dyn / len(dyn))
        strength, axes = strength.flip(0).clamp_min(1e-12).sqrt(), axes.flip(1)
        self.encoder.weight.copy_((axes / strength).T @ self.encoder.weight)
        self.decoder.weight.copy_(self.decoder.weight @ (axes * strength))


def save_mesh_code(
    network: MeshCode, file: Path, provenance: dict[str, Any], bank: MotionLatent, to_rig: Float[Tensor, "P D"]
) -> MeshCode:
    """Write all of `load_mesh_code` in half precision; the code as whoever reads the file gets it."""
    kept = network.state_dict() | {"bank_dyn": bank.dyn, "bank_pose": bank.pose, "to_rig": to_rig}
    arrays = {key: value.numpy().astype(np.float16) for key, value in kept.items()}
    with whole(file) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays, provenance=np.array(json.dumps(provenance)))
    return load_mesh_code(file).network


class CodeFile(NamedTuple):
    """What `experiment=mesh_code` leaves."""

    network: MeshCode
    provenance: dict[str, Any]
    bank: MotionLatent  # of speakers drawn at random, one after the other; poses about each one's mean
    to_rig: Float[Tensor, "P D"]  # from a code to the rig's expressions, jaw and eyes (`data.mesh_motion.rig_values`)


def load_mesh_code(file: Path) -> CodeFile:
    """

    Raises:
        UserError: the file is missing or is none of `experiment=mesh_code`.
    """
    action = "train one with experiment=mesh_code"
    try:
        with np.load(file, allow_pickle=False) as kept:
            arrays = {key: torch.from_numpy(kept[f"{key}"].astype(np.float32)) for key in ARRAYS}
            provenance = json.loads(str(kept["provenance"]))
        rows, dyn = arrays["decoder.weight"].shape
        network = MeshCode(rows // 3, dyn)
        network.load_state_dict({key: arrays[key] for key in WEIGHTS})
    except FileNotFoundError as error:
        raise UserError(str(file), "no such file", "a mesh code", action) from error
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise UserError(str(file), f"not to be read ({error})", "a mesh code", action) from error
    bank = MotionLatent(arrays["bank_dyn"], arrays["bank_pose"])
    return CodeFile(network.requires_grad_(False), provenance, bank, arrays["to_rig"])
