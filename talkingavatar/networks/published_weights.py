"""Weights that others published, read without running what is in their file, and taken only where every key fits."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from talkingavatar.errors import UserError
from talkingavatar.paths import cache_root, user_path, weights_root

Network = TypeVar("Network", bound=nn.Module)

AGAIN = "put the published file there again"
NAMED = 3  # keys that a line names
WRAPPED = "module."  # before the keys of a network that was trained by several processes
# What a training's arguments are made of beside plain values; a path that was saved is read as one that opens nothing.
HARMLESS: list[Any] = [
    argparse.Namespace,
    (PurePosixPath, "pathlib.PosixPath"),
    (PureWindowsPath, "pathlib.WindowsPath"),
]


def usual_places(path: str | None, repositories: tuple[str, ...]) -> list[Path]:
    """`path`, else the user's folder of weights, the cache's, and what the hub's cache has of these repositories."""
    from huggingface_hub import constants

    if path is not None:
        return [user_path(path)]
    hub = Path(constants.HF_HUB_CACHE)
    snapshots = (place for name in repositories for place in sorted((hub / name / "snapshots").glob("*")))
    return [place for place in (weights_root(), cache_root() / "weights", *snapshots) if place]


def first_file(places: Sequence[Path], folders: Sequence[str], names: Sequence[str]) -> Path | None:
    """The first of these names that is there, in any of the folders below any of the places."""
    files = (place / folder / name for name in names for place in places for folder in folders)
    return next((file for file in files if file.is_file()), None)


def read_published(file: Path) -> dict[str, Any]:
    """What a `.safetensors` or a `torch.save` file holds: tensors, plain values, and the arguments of a command.

    Raises:
        UserError: it is missing, damaged or no dict, or names code.
    """
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        with warnings.catch_warnings(), torch.serialization.safe_globals(HARMLESS):
            warnings.simplefilter("ignore")  # torch warns of pickles that it then refuses
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, zipfile and safetensors raise many kinds on a foreign file
        raise UserError(str(file), _reason(error), "published weights", AGAIN) from error
    if not isinstance(content, Mapping):
        raise UserError(str(file), f"a {type(content).__name__}", "a dict of named tensors", AGAIN)
    return {str(key): value for key, value in content.items()}


def _reason(error: Exception) -> str:
    told = str(error)
    if named := re.search(r"GLOBAL (\S+)", told):
        return f"a pickle that would run code ({named[1]}), which was not run"
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return f"{type(error).__name__}: {(lines or [''])[-1][:200]}"


def unwrapped(given: Mapping[str, Any]) -> dict[str, Any]:
    """Without the prefix of several processes."""
    return {str(key).removeprefix(WRAPPED): value for key, value in given.items()}


def filled(make: Callable[[], Network], given: Mapping[str, Any], file: Path, whose: str) -> Network:
    """The network that `make` builds, with these weights in single precision, ready to be used.

    Args:
        given: its state, by key.
        whose: the network's name, for a reader.

    Raises:
        UserError: a key is missing, one too many or of another shape.
    """
    with torch.device("meta"):  # nothing is drawn that is then written over
        network = make()
    wanted = network.state_dict()
    check_state(given, wanted, file, whose)
    state = {key: value.float() if value.is_floating_point() else value for key, value in given.items()}
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def check_state(given: Mapping[str, Any], wanted: Mapping[str, Tensor], file: Path, whose: str) -> None:
    """
    Raises:
        UserError: keys or shapes differ.
    """
    missing = [key for key in wanted if key not in given]
    surplus = [key for key in given if key not in wanted]
    shared = {key: (given[key], wanted[key]) for key in wanted if key in given}
    other = {key: pair for key, pair in shared.items() if not _alike(*pair)}
    found, expected = [], [f"the {len(wanted)} tensors of {whose}"]
    if missing:
        found.append(f"{len(missing)} keys missing ({_some(missing)})")
    if surplus:
        found.append(f"{len(surplus)} keys too many ({_some(surplus)})")
    if other:
        found.append("of another shape " + _some([f"{key} {_kind(pair[0])}" for key, pair in other.items()]))
        expected.append(_some([f"{key} {_kind(pair[1])}" for key, pair in other.items()]))
    if found:
        raise UserError(str(file), ", ".join(found), ", ".join(expected), AGAIN)


def _alike(given: Any, wanted: Tensor) -> bool:
    return (
        isinstance(given, Tensor)
        and given.shape == wanted.shape
        and given.is_floating_point() == wanted.is_floating_point()
    )


def _kind(value: Any) -> str:
    return (
        f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
        if isinstance(value, Tensor)
        else repr(value)[:40]
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
