"""Checkpoints: whole or not there, and safe to load."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch

from talkingavatar.errors import UserError
from talkingavatar.runtime.files import whole
from talkingavatar.runtime.readers import Unreadable

ANEW = "remove it, or start anew with run.fresh=true"
EXPECTED = "a whole checkpoint of this run"
LARGEST = 1e9  # that any number of a network or a Gaussian may be; what comes of larger ones is none


def save(trainer: L.Trainer, file: Path) -> None:
    """Replace `file` by the trainer's state; killed anywhere, the old or the new one stands.

    All processes of a run call it; the leading one writes.
    """
    if not trainer.is_global_zero:
        trainer.save_checkpoint(file)
        return
    with whole(file) as temporary:
        trainer.save_checkpoint(temporary)


def read(file: Path) -> dict[str, Any]:
    """Tensors, numbers, strings, lists and dicts only: nothing in the file is executed.

    Raises:
        UserError: it is truncated, damaged, no checkpoint of ours, or holds NaN, infinity or numbers out of all reason.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(str(file), "no such file", "a checkpoint", "give a run that has one") from error
    except Exception as error:  # torch and zipfile raise many kinds on a damaged file
        raise damaged(file, error) from error
    if not isinstance(content, dict) or not {"state_dict", "global_step", "loops"} <= content.keys():
        raise Unreadable(str(file), "another kind of file", "a checkpoint of a fit", "give a run directory of fit")
    state, step = content["state_dict"], content["global_step"]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise Unreadable(str(file), "something else than tensors", EXPECTED, ANEW)
    if type(step) is not int or step < 0:
        raise Unreadable(str(file), f"step {step!r}", EXPECTED, ANEW)
    broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        action = f"{ANEW}; if it was this fit that broke, lower its learning rates"
        raise Unreadable(str(file), f"NaN or infinity in {', '.join(broken[:3])}", "numbers", action)
    filled = {name: value for name, value in state.items() if value.is_floating_point() and value.numel()}
    large = {name: float(value.abs().max()) for name, value in filled.items()}
    if wild := [f"{most:.0e} in {name}" for name, most in large.items() if most > LARGEST]:
        raise Unreadable(str(file), ", ".join(wild[:3]), f"numbers up to {LARGEST:.0e}", ANEW)
    return content


def check_optimisers(content: Mapping[str, Any], file: Path) -> None:
    """
    Raises:
        UserError: the checkpoint has none, or no count of its steps; Lightning would begin anew without a word.
    """
    loops = content.get("loops")
    if not isinstance(loops, dict) or not loops.get("fit_loop"):
        raise Unreadable(str(file), "no count of the steps that were done", EXPECTED, ANEW)
    states = content.get("optimizer_states")
    if not isinstance(states, list) or not states or not all(isinstance(state, dict) and state for state in states):
        raise Unreadable(str(file), "no state of the optimisers", EXPECTED, ANEW)


def restore(module: L.LightningModule, content: Mapping[str, Any], file: Path) -> None:
    """Give a module the tensors of a checkpoint that was read.

    Raises:
        UserError: tensors are missing, too many, or of another shape or type.
    """
    check_types(module, content, file)
    with reading(file):
        module.on_load_checkpoint(dict(content))
        module.load_state_dict(content["state_dict"])


def check_types(module: L.LightningModule, content: Mapping[str, Any], file: Path) -> None:
    """
    Raises:
        UserError: tensors are of another type than the module's.
    """
    state = content["state_dict"]
    wanted = {name: value.dtype for name, value in module.state_dict().items() if name in state}
    others = [f"{name} of type {state[name].dtype}" for name, dtype in wanted.items() if state[name].dtype != dtype]
    if others:
        raise Unreadable(str(file), ", ".join(others[:3]), EXPECTED, ANEW)


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """What goes wrong while the content of a checkpoint is put to use, its file is to blame for.

    Raises:
        UserError: instead of errors of missing keys, shapes, types, whatever a part does with its own.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise damaged(file, error) from error


def damaged(file: Path, error: BaseException) -> UserError:
    """What to say of a checkpoint that some reader stumbled over."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Torch's list of what does not fit stands beneath its heading.
    reason = lines[1] if len(lines) > 1 and lines[0].startswith("Error(s) in loading") else (lines or [""])[0]
    return Unreadable(str(file), f"a damaged file ({type(error).__name__}: {reason[:160]})", EXPECTED, ANEW)
