"""Checkpoints: whole or not there, and safe to load."""

import os
from pathlib import Path
from typing import Any

import lightning as L
import torch

from talkingavatar.errors import UserError


def save(trainer: L.Trainer, file: Path) -> None:
    """Replace `file` by the trainer's state; killed anywhere, the old or the new one stands.

    All processes of a run call it; the leading one writes.
    """
    temporary = file.with_suffix(".tmp")
    trainer.save_checkpoint(temporary)
    if not trainer.is_global_zero:
        return
    with temporary.open("rb+") as handle:
        os.fsync(handle.fileno())
    temporary.replace(file)


def read(file: Path) -> dict[str, Any]:
    """Tensors, numbers, strings, lists and dicts only: nothing in the file is executed.

    Raises:
        UserError: it is truncated, damaged or no checkpoint of ours.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(str(file), "no such file", "a checkpoint", "give a run that has one") from error
    except Exception as error:  # torch and zipfile raise many kinds on a damaged file
        reason = f"a damaged file ({type(error).__name__}: {str(error).splitlines()[0][:80]})"
        raise UserError(
            str(file), reason, "a whole checkpoint", "remove it, or start anew with run.fresh=true"
        ) from error
    if not isinstance(content, dict) or not {"state_dict", "global_step", "loops"} <= content.keys():
        raise UserError(str(file), "another kind of file", "a checkpoint of a fit", "give a run directory of fit")
    return content
