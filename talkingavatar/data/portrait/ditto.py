"""Ditto (arXiv 2411.19509) as LivePortrait's driver from sound: its denoiser, and the HuBERT that is published as ONNX.

It has never been run with the published files. Its conditions of the eyes come from MediaPipe's iris; here lids are
told from the 68 landmarks, and the gaze is ahead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor

from talkingavatar.data.portrait.speech_driver import Person
from talkingavatar.errors import UserError
from talkingavatar.networks.ditto import PUBLISHED, Ditto, Sizes
from talkingavatar.networks.live_portrait.motion import BINS, expected_angle
from talkingavatar.networks.mesh_code import MotionLatent
from talkingavatar.networks.published_weights import AGAIN, filled, first_file, read_published, unwrapped, usual_places
from talkingavatar.runtime.files import sha256

DENOISER, LISTENER = "lmdm_v0.4_hubert.pth", "hubert_streaming_fix_kv.onnx"
FOLDERS = ("", "ditto", "ditto_pytorch/models", "ditto_pytorch/aux_models", "models", "aux_models")
REPOSITORY, SOURCE = "models--digital-avatar--ditto-talkinghead", "huggingface.co/digital-avatar/ditto-talkinghead"
FRAME = 640  # samples
BEFORE, TAKEN, AFTER = 3, 5, 2  # frames of a chunk of sound: heard before, told, heard after
CHUNK, HEARD = (BEFORE + TAKEN + AFTER) * FRAME + 80, 1024  # samples; numbers of a step, of which a frame has two
OVERLAP = 10  # frames of a window that were told by the one before, and go over to it
EMOTIONS, NEUTRAL, SURE = 8, 4, 8.0
SMOOTHED = 3 * BINS + 4  # numbers of a frame that are averaged over three: all but the expression
Listener = Callable[[Float32[ndarray, "1 n"]], Float32[ndarray, "s 1024"]]


@dataclass(frozen=True)
class DittoFiles:
    """What was found of the two."""

    looked_in: tuple[Path, ...]
    denoiser: Path | None
    listener: Path | None

    @property
    def found(self) -> bool:
        return self.denoiser is not None and self.listener is not None and find_spec("onnxruntime") is not None

    @property
    def why_skipped(self) -> str:
        """For a table's reader."""
        wanted = {DENOISER: self.denoiser, LISTENER: self.listener}
        if missing := " and ".join(name for name, file in wanted.items() if file is None):
            return f"no {missing} in {', '.join(map(str, self.looked_in))}; from {SOURCE}"
        return "onnxruntime is not installed: pip install 'talkingavatar[identity]'"

    def checksums(self) -> dict[str, str]:
        return {file.name: sha256(file) for file in (self.denoiser, self.listener) if file is not None}


def find_ditto(path: str | None = None) -> DittoFiles:
    """Looks in `path`, else in `$TALKINGAVATAR_WEIGHTS`, the cache's `weights` and the Hugging Face hub's cache."""
    places = usual_places(path, (REPOSITORY,))
    found = (first_file(places, FOLDERS, [name]) for name in (DENOISER, LISTENER))
    return DittoFiles(tuple(places), *found)


@final
class DittoDriver:
    """Speech to LivePortrait's motion, at 25 frames a second, going on from the portrait's own."""

    name, personal = "Ditto", True

    def __init__(
        self,
        files: DittoFiles,
        listener: Listener | None = None,
        sizes: Sizes = PUBLISHED,
        device: torch.device | str = "cpu",
    ) -> None:
        """
        Args:
            listener: a chunk of sound to two rows a frame; None: the published one.

        Raises:
            UserError: a file is not what was published, or says that it would run code.
        """
        assert files.denoiser is not None and files.listener is not None
        given = read_published(files.denoiser).get("model_state_dict")
        if not isinstance(given, dict):
            raise UserError(str(files.denoiser), "no model_state_dict", "Ditto's denoiser", AGAIN)
        self.device = device
        self.network = filled(partial(Ditto, sizes), unwrapped(given), files.denoiser, "Ditto's denoiser").to(device)
        self.listener = listener or _onnx(files.listener)

    def __call__(self, samples: Float[ndarray, " n"], seed: int, person: Person) -> MotionLatent:
        """Of 16 kHz mono speech; the same seed, the same motion."""
        frames, sizes = max(1, -(-len(samples) // FRAME)), self.network.sizes
        heard = torch.cat([self._heard(samples, frames), _conditions(person).expand(frames, -1)], 1).to(self.device)
        told = person.told
        before = torch.cat([told["scale"] - 1, *(told[name] for name in ("pitch", "yaw", "roll", "t", "exp"))], 1)
        noise, motion = torch.Generator().manual_seed(seed), torch.zeros(0, sizes.motion)
        before, over = before.to(self.device), torch.arange(OVERLAP)[:, None] / OVERLAP
        while len(motion) < frames:
            first = max(0, len(motion) - OVERLAP)
            rows = torch.arange(first, first + sizes.frames, device=self.device).clamp_max(frames - 1)
            window = self.network.window(before, heard[rows][None], noise)[0].cpu()
            if len(motion):
                joined = motion[first:] * (1 - over) + window[:OVERLAP] * over
                motion = torch.cat([motion[:first], joined, window[OVERLAP:]])
            else:
                motion = window
            before = motion[None, len(motion) - OVERLAP - 1].to(self.device)
        return _latent(_smoothed(motion[:frames]))

    def _heard(self, samples: Float[ndarray, " n"], frames: int) -> Float[Tensor, "T 1024"]:
        """Chunk by chunk, each with a little of what is before and after it, silence beyond either end."""
        chunks = -(-frames // TAKEN)
        sound = np.zeros((chunks * TAKEN + BEFORE + AFTER) * FRAME + 80, np.float32)
        sound[BEFORE * FRAME : BEFORE * FRAME + len(samples)] = samples
        parts = []
        for start in range(0, chunks * TAKEN * FRAME, TAKEN * FRAME):
            steps = self.listener(sound[None, start : start + CHUNK])
            taken = steps[-2 * (TAKEN + AFTER) : -2 * AFTER]
            parts.append(taken.reshape(TAKEN, 2, HEARD).mean(1))
        return torch.from_numpy(np.concatenate(parts)[:frames])


def _conditions(person: Person) -> Float[Tensor, "1 H"]:
    """Calm; the portrait's lids; looking ahead; whose face it is."""
    emotion = torch.zeros(EMOTIONS)
    emotion[NEUTRAL] = SURE
    lids = torch.stack([_opening(person.marks[first : first + 6]) for first in (36, 42)])
    return torch.cat([emotion.softmax(0), lids, torch.zeros(6), person.told["kp"][0].cpu()])[None]


def _opening(eye: Float[Tensor, "6 2"]) -> Float[Tensor, ""]:
    """Three heights over the width; 68 landmarks have two of them."""
    heights = (eye[1] - eye[5]).norm() + (eye[2] - eye[4]).norm()
    return 1.5 * heights / (eye[0] - eye[3]).norm().clamp_min(1e-6)


def _smoothed(motion: Float[Tensor, "T D"]) -> Float[Tensor, "T D"]:
    """Pose and scale by the mean of up to three frames."""
    around = torch.ones(1, 1, 3)
    pose = motion[:, :SMOOTHED].T[:, None]
    sums, counts = (torch.conv1d(x, around, padding=1) for x in (pose, torch.ones_like(pose)))
    return torch.cat([(sums / counts)[:, 0].T, motion[:, SMOOTHED:]], 1)


def _latent(motion: Float[Tensor, "T D"]) -> MotionLatent:
    scale, pitch, yaw, roll, shift, dyn = motion.split([1, BINS, BINS, BINS, 3, motion.shape[1] - SMOOTHED], 1)
    angles = torch.stack([expected_angle(scores) for scores in (pitch, yaw, roll)], 1)
    return MotionLatent(dyn, torch.cat([(scale + 1).clamp_min(1e-3).log(), angles, shift], 1))


def _onnx(file: Path) -> Listener:
    """
    Raises:
        UserError: the file is no ONNX model of one chunk of sound.
    """
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
    except Exception as error:  # onnxruntime raises many kinds on a foreign file
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        raise UserError(str(file), reason, f"Ditto's HuBERT for {CHUNK} samples", AGAIN) from error
    return lambda chunk: np.asarray(session.run(None, {name: chunk})[0], np.float32).reshape(-1, HEARD)
