"""wav2vec 2.0 features through transformers, from files that are already on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import pad

from talkingavatar.audio.steps import STEPS, STEPS_PER_SECOND, step_times
from talkingavatar.errors import UserError
from talkingavatar.paths import weights_root

DEFAULT = "cpierse/wav2vec2-large-xlsr-53-esperanto"  # 44 symbols: what the published windows were made with
HOP, RECEPTIVE = 320, 400  # samples
MIDDLE, CONTEXT = (
    50,
    10,
)  # steps taken from a chunk, and heard before and after them, as ER-NeRF's extraction does
BATCH = 8


def wav2vec2_features(
    samples: Float[ndarray, " N"], fps: float | int, frames: int, path: str | Path | None, output: str
) -> Float32[ndarray, "T 16 C"]:
    """Windows of CTC logits or of the last hidden states; samples at 16 kHz, normalised over the whole sound.

    Raises:
        UserError: unknown output, or the checkpoint is not on this machine or has no CTC head for "logits".
    """
    if output not in ("logits", "hidden"):
        raise UserError("audio.output", repr(output), "logits or hidden", "choose one of them")
    model = load_model(path, output)
    lead = STEPS  # steps of silence before the sound, so that the first windows hear it
    ends = int(np.ceil(frames / fps * STEPS_PER_SECOND)) + 2 * lead
    sound = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
    sound = (sound - sound.mean()) / (sound.var(correction=0) + 1e-7).sqrt()
    sound = pad(sound, (lead * HOP, max(0, ends * HOP - len(sound))))
    steps = recognise(model, sound, ends, output).numpy()
    # Step n hears the samples [n HOP, n HOP + RECEPTIVE): its time is the middle of them.
    position = step_times(fps, frames) * STEPS_PER_SECOND + lead - RECEPTIVE / 2 / HOP
    left = np.floor(position).astype(np.int64)
    share = (position - left)[..., None].astype(np.float32)
    return (1 - share) * steps[left] + share * steps[left + 1]


def recognise(model: Any, sound: Float[Tensor, " N"], steps: int, output: str) -> Float32[Tensor, "S C"]:
    """The model's outputs for `steps` steps of sound, in chunks with context: a long clip fits in memory."""
    chunks = -(-steps // MIDDLE)
    length = (MIDDLE + 2 * CONTEXT) * HOP + RECEPTIVE - HOP
    missing = (chunks - 1) * MIDDLE * HOP + length - CONTEXT * HOP - len(sound)
    pieces = pad(sound, (CONTEXT * HOP, max(0, missing))).unfold(0, length, MIDDLE * HOP)[:chunks]
    outputs = []
    with torch.inference_mode():
        for batch in pieces.split(BATCH):
            result = model(batch)
            value = result.logits if output == "logits" else result.last_hidden_state
            outputs.append(value[:, CONTEXT : CONTEXT + MIDDLE].flatten(0, 1))
    return torch.cat(outputs)[:steps].float()


def load_model(path: str | Path | None, output: str) -> Any:
    """The checkpoint in `path` (a folder), in the weights folder, or in the hub's cache under that name.

    Nothing is fetched.

    Raises:
        UserError: it is in none of them, or has no CTC head for "logits".
    """
    from transformers import AutoModel, AutoModelForCTC

    name = str(path or DEFAULT)
    root = weights_root()
    places = [Path(name)] + ([root / Path(name).name] if root else [])
    found = next((str(place) for place in places if (place / "config.json").is_file()), name)
    kind = AutoModelForCTC if output == "logits" else AutoModel
    try:
        model, info = kind.from_pretrained(found, local_files_only=True, output_loading_info=True)
    except (OSError, ValueError) as error:
        looked = ", ".join([*map(str, places), "the hub's cache"])
        raise UserError(
            "audio.path",
            f"no wav2vec 2.0 checkpoint (looked in {looked})",
            "a folder with config.json and weights, or a name in the hub's cache",
            "`doctor fetch=wav2vec2`, put one there, set audio.path, or use audio=logmel",
        ) from error
    if any(key.startswith("lm_head") for key in info["missing_keys"]):
        raise UserError("audio.path", f"{found} without a CTC head", "one with", "use audio.output=hidden")
    return model.eval()
