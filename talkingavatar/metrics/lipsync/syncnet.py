"""SyncNet as published (Chung and Zisserman 2016; joonson/syncnet_python): its weights and its streams.

Pictures are BGR in 0 to 255 without a mean subtracted, sound is MFCC of 16-bit samples: what the published weights
expect. Position i of a clip at 25 fps sees frames i to i + 4 and columns 4 i to 4 i + 19 of the MFCC, both 0.2 s.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from talkingavatar.errors import UserError
from talkingavatar.metrics.lipsync.mfcc import RATE, mfcc
from talkingavatar.networks.syncnet import WINDOW, SyncNet
from talkingavatar.paths import cache_root, weights_root
from talkingavatar.runtime.files import sha256

FILES = ("syncnet_v2.model", "syncnet.model")  # the published name, the one of a run of experiment=syncnet
COLUMNS, FPS = 20, 25  # MFCC columns of a position; positions a second
BATCH = 20  # positions embedded at a time


@dataclass(frozen=True)
class SyncNetFile:
    """A file of weights, or where it was looked for in vain."""

    looked_in: tuple[Path, ...]
    path: Path | None

    @property
    def why_skipped(self) -> str:
        """For a table's reader."""
        places = ", ".join(str(place) for place in self.looked_in)
        return f"no {FILES[0]} in {places}; doctor fetch=syncnet gets it, experiment=syncnet trains one"

    def checksum(self) -> str:
        """SHA-256 of the file."""
        assert self.path is not None
        return sha256(self.path)

    def provenance(self) -> dict[str, Any]:
        """File, checksum and origin, for every result scored with it; the origin is told by `<file>.json` alone."""
        assert self.path is not None
        checksum = self.checksum()
        facts: dict[str, Any] = {"file": self.path.name, "sha256": checksum}
        sidecar = sidecar_of(self.path)
        if not sidecar.is_file():
            named = " (it has the published file's name)" * (self.path.name == FILES[0])
            return facts | {"origin": f"not known: no {sidecar.name} beside it{named}"}
        try:
            told = json.loads(sidecar.read_text())
            same = told["sha256"] == checksum
        except (ValueError, TypeError, KeyError):
            return facts | {"origin": f"not known: {sidecar.name} is not readable"}
        if not same:
            return facts | {"origin": f"not known: {sidecar.name} describes another file"}
        return facts | {"origin": "trained by experiment=syncnet", "training": told}


def sidecar_of(file: Path) -> Path:
    """Where a file that was trained here tells how."""
    return file.with_name(file.name + ".json")


def find_syncnet(path: str | None = None) -> SyncNetFile:
    """Looks at `path` (the file or its folder), else in `$TALKINGAVATAR_WEIGHTS` and the cache's `weights`."""
    if path:
        places = [Path(path).expanduser()]
    else:
        places = [place for place in (weights_root(), cache_root() / "weights") if place]
    files = (file for place in places for file in (place, *(place / name for name in FILES)))
    return SyncNetFile(tuple(places), next((file for file in files if file.is_file()), None))


def load_syncnet(file: Path) -> SyncNet:
    """The network of a file in the published layout: a plain dict of tensors. Nothing in it is executed.

    Raises:
        UserError: it is truncated, foreign, or lacks a tensor, has one too many or one of another shape.
    """
    network = SyncNet()
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise TypeError(f"a {type(content).__name__}")
        # As a plain dict: old files have no `num_batches_tracked`, which torch then fills in.
        network.load_state_dict(dict(content))
    except Exception as error:  # torch and zipfile raise many kinds on a foreign file
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = f"{type(error).__name__}: {' '.join(lines[:2])[:200]}"
        raise UserError(str(file), reason, "weights of SyncNet", "replace or remove it") from error
    return network


class SyncNetScorer:
    """Embeds lips and sound. Not a module of any method, so never in a checkpoint."""

    def __init__(self, file: SyncNetFile, device: torch.device | str = "cpu") -> None:
        """
        Raises:
            UserError: the file is not SyncNet's weights.
        """
        assert file.path is not None
        self.file, self.device = file, device
        self.network = load_syncnet(file.path).eval().requires_grad_(False).to(device)

    def lip_stream(self) -> LipStream:
        """For the crops of one clip, one after the other."""
        return LipStream(self.network, self.device)

    def audio_embeddings(self, samples: Float[ndarray, " N"]) -> Float[Tensor, "M 1024"]:
        """Of 16 kHz mono sound in [-1, 1]; as many positions as a video of its length has."""
        return audio_embeddings(self.network, samples, self.device)


class LipStream:
    """Embeds crops as they come; what is kept of a picture is its 1024 numbers."""

    def __init__(self, network: SyncNet, device: torch.device | str = "cpu") -> None:
        self.network, self.device = network, device
        self.waiting: list[UInt8[ndarray, "224 224 3"]] = []
        self.done: list[Float[Tensor, "n 1024"]] = []

    def add(self, crop: UInt8[ndarray, "224 224 3"]) -> None:
        """The next crop at 25 fps, RGB."""
        self.waiting.append(crop)
        if len(self.waiting) == BATCH + WINDOW - 1:
            self._embed()

    def finish(self) -> Float[Tensor, "L 1024"]:
        """Embeddings of all positions, on the CPU: five less than crops, as published (the last window is left out)."""
        if len(self.waiting) >= WINDOW:
            self._embed()
        return torch.cat(self.done)[:-1] if self.done else torch.zeros(0, 1024)

    @torch.no_grad()
    def _embed(self) -> None:
        self.done.append(self.network.forward_clip(as_clip(np.stack(self.waiting)).to(self.device))[0].cpu())
        self.waiting = self.waiting[-(WINDOW - 1) :]


def as_clip(crops: UInt8[ndarray, "T 224 224 3"]) -> Float[Tensor, "1 3 T 224 224"]:
    """RGB crops as the network takes them."""
    return torch.from_numpy(np.ascontiguousarray(crops[..., ::-1])).permute(3, 0, 1, 2)[None].float()


@torch.no_grad()
def audio_embeddings(
    network: SyncNet, samples: Float[ndarray, " N"], device: torch.device | str = "cpu"
) -> Float[Tensor, "M 1024"]:
    """Embeddings of 16 kHz mono sound in [-1, 1], on the CPU, at 25 positions a second."""
    positions = max(0, len(samples) * FPS // RATE - WINDOW)
    if not positions:
        return torch.zeros(0, 1024)
    columns = torch.from_numpy(mfcc(samples)).float()
    starts = torch.arange(positions).split(BATCH)
    return torch.cat([network.forward_audio(audio_windows(columns, s).to(device)).cpu() for s in starts])


def audio_windows(columns: Float[Tensor, "M 13"], positions: Int[Tensor, " N"]) -> Float[Tensor, "N 1 13 20"]:
    """The windows of MFCC at these positions."""
    rows = positions[:, None] * 4 + torch.arange(COLUMNS)
    return columns[rows].transpose(1, 2)[:, None]
