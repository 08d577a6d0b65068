"""JoyVASA as LivePortrait's driver from sound: its files, and from speech to motion.

The network and the order of its work are the published ones; it has never been run with the published weights.
"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.body.unpickle import read_arrays
from talkingavatar.data.portrait.speech_driver import Person
from talkingavatar.errors import UserError
from talkingavatar.networks.joyvasa import JoyVasa, Sizes
from talkingavatar.networks.mesh_code import MotionLatent
from talkingavatar.networks.published_weights import AGAIN, filled, first_file, read_published, unwrapped, usual_places
from talkingavatar.runtime.files import sha256

GENERATOR, TEMPLATE = "iter_0020000.pt", "motion_template.pkl"
FOLDERS = ("", "JoyVASA", "joyvasa", "motion_generator", "motion_template", "JoyVASA/motion_generator",
           "JoyVASA/motion_template")  # fmt: skip
REPOSITORY, SOURCE = "models--jdh-algo--JoyVASA", "huggingface.co/jdh-algo/JoyVASA"
LISTENER, STEP_PLACES = "audio_encoder.", "denoising_net.TE.pe"  # keys that the generator's network does without
FRAME, EDGE = 640, 40  # samples of a frame; that HuBERT's last step lacks at either end
ARGUMENTS = {"motion": "motion_feat_dim", "frames": "n_motions", "before": "n_prev_motions", "width": "feature_dim",
             "steps": "n_diff_steps"}  # fmt: skip
RANGED = {"scale": 1, "t": 3, "pitch": 1, "yaw": 1, "roll": 1}  # how many numbers; they were scaled to [0, 1]


@dataclass(frozen=True)
class JoyVasaFiles:
    """What was found of the two."""

    looked_in: tuple[Path, ...]
    generator: Path | None
    template: Path | None

    @property
    def found(self) -> bool:
        return self.generator is not None and self.template is not None

    @property
    def why_skipped(self) -> str:
        """For a table's reader."""
        wanted = {GENERATOR: self.generator, TEMPLATE: self.template}
        missing = " and ".join(name for name, file in wanted.items() if file is None)
        return f"no {missing} in {', '.join(map(str, self.looked_in))}; from {SOURCE}"

    def checksums(self) -> dict[str, str]:
        return {file.name: sha256(file) for file in (self.generator, self.template) if file is not None}


def find_joyvasa(path: str | None = None) -> JoyVasaFiles:
    """Looks in `path`, else in `$TALKINGAVATAR_WEIGHTS`, the cache's `weights` and the Hugging Face hub's cache."""
    places = usual_places(path, (REPOSITORY,))
    found = (first_file(places, FOLDERS, [name]) for name in (GENERATOR, TEMPLATE))
    return JoyVasaFiles(tuple(places), *found)


@final
class JoyVasaDriver:
    """Speech to LivePortrait's motion, at 25 frames a second."""

    name, personal = "JoyVASA", False

    def __init__(self, files: JoyVasaFiles, listener: Any = None, device: torch.device | str = "cpu") -> None:
        """
        Args:
            listener: transformers' configuration of the HuBERT in the file; None: the base one, as published.

        Raises:
            UserError: a file is not what was published, or says that it would run code.
        """
        assert files.generator is not None and files.template is not None
        self.files, self.device = files, device
        given = read_published(files.generator)
        state, arguments = given.get("model"), given.get("args")
        if not isinstance(state, dict) or not isinstance(arguments, Namespace):
            found = ", ".join(map(str, list(given)[:3]))
            raise UserError(str(files.generator), f"a dict of {found}", "args and model of JoyVASA's generator", AGAIN)
        state = unwrapped(state)
        self.listener = _listener(state, files.generator, listener).to(device)
        sizes = _sizes(arguments, self.listener.config.hidden_size, state, files.generator)
        own = {key: value for key, value in state.items() if not key.startswith(LISTENER)}
        # Steps are placed by sines that the file may have of another length than its network: they are made here.
        own[STEP_PLACES] = JoyVasa(sizes).state_dict()[STEP_PLACES]
        self.network = filled(partial(JoyVasa, sizes), own, files.generator, "JoyVASA's generator").to(device)
        self.ranges = _ranges(files.template, sizes.motion - sum(RANGED.values()))
        self.repeats = getattr(arguments, "pad_mode", "zero") == "replicate"

    def __call__(self, samples: Float[ndarray, " n"], seed: int, person: Person) -> MotionLatent:
        """Of 16 kHz mono speech, whoever the person is; the same seed, the same motion."""
        sizes, frames = self.network.sizes, max(1, len(samples) // FRAME)
        windows = -(-frames // sizes.frames)
        missing = windows * sizes.frames * FRAME - len(samples)
        sound = torch.from_numpy(np.asarray(samples, np.float32)[: windows * sizes.frames * FRAME])
        last = float(sound[-1]) if self.repeats and len(sound) else 0.0
        sound = F.pad(sound, (0, max(0, missing)), value=last).view(windows, -1).to(self.device)
        heard = torch.cat([self._heard(window[None]) for window in sound])
        noise = torch.Generator().manual_seed(seed)
        return self._latent(self.network.sample(heard, noise)[:frames].cpu())

    @torch.no_grad()
    def _heard(self, sound: Float[Tensor, "1 n"]) -> Float[Tensor, "1 N C"]:
        """Two steps of HuBERT a frame, of which the mean is taken."""
        for _ in range(2):  # twice, as published: half of the edge each time
            sound = F.pad(sound, (EDGE // 2, EDGE // 2), mode="reflect")
        steps = self.listener(sound).last_hidden_state
        return F.interpolate(steps.mT, size=self.network.sizes.frames, mode="linear", align_corners=False).mT

    def _latent(self, motion: Float[Tensor, "T D"]) -> MotionLatent:
        values = motion * self.ranges[1] + self.ranges[0]
        dyn, scale, shift, angles = values.split([values.shape[1] - sum(RANGED.values()), 1, 3, 3], 1)
        return MotionLatent(dyn, torch.cat([scale.clamp_min(1e-3).log(), torch.deg2rad(angles), shift], 1))


def _sizes(arguments: Namespace, heard: int, state: dict[str, Any], file: Path) -> Sizes:
    found: dict[str, int] = {}
    for name, argument in ARGUMENTS.items():
        value = getattr(arguments, argument, None)
        if not isinstance(value, int) or not 0 < value <= 10_000:
            raise UserError(f"{file}:args.{argument}", repr(value), "a whole number above 0", AGAIN)
        found[name] = value
    layers = {key.split(".")[3] for key in state if key.startswith("denoising_net.transformer.layers.")}
    return Sizes(**found, heard=heard, layers=max(1, len(layers)))


def _ranges(file: Path, numbers: int) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
    """What is added to a frame's numbers after they were multiplied by the second."""
    expected = "JoyVASA's statistics: mean_exp, std_exp, min and max of scale, t, pitch, yaw and roll"
    content = read_arrays(file, str(file), expected, AGAIN)

    def read(name: str, count: int) -> Float[Tensor, " n"]:
        value = content.get(name)
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.size != count:
            raise UserError(f"{file}:{name}", _told(value), f"{count} numbers", AGAIN)
        if not np.isfinite(value).all():
            raise UserError(f"{file}:{name}", "numbers that are not finite", f"{count} finite ones", AGAIN)
        return torch.from_numpy(value.astype(np.float32).reshape(count))

    low = [read("mean_exp", numbers), *(read(f"min_{name}", count) for name, count in RANGED.items())]
    high = [read(f"max_{name}", count) for name, count in RANGED.items()]
    spans = [read("std_exp", numbers), *(top - bottom for top, bottom in zip(high, low[1:], strict=True))]
    return torch.cat(low), torch.cat(spans)


def _told(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else "nothing"


def _listener(state: dict[str, Any], file: Path, config: Any) -> Any:
    """The file's own HuBERT, which was trained with the generator.

    Raises:
        UserError: the file has none, or another.
    """
    from transformers import HubertConfig, HubertModel

    kept = {key.removeprefix(LISTENER): value for key, value in state.items() if key.startswith(LISTENER)}
    if not kept:
        raise UserError(str(file), f"no {LISTENER}* in it", "the generator with the HuBERT it was trained with", AGAIN)
    return filled(lambda: HubertModel(config or HubertConfig()), _renamed(kept), file, "JoyVASA's HuBERT")


def _renamed(state: dict[str, Any]) -> dict[str, Any]:
    """torch has named the two parts of a normalised weight anew since."""
    place = "encoder.pos_conv_embed.conv."
    names = {f"{place}weight_g": f"{place}parametrizations.weight.original0",
             f"{place}weight_v": f"{place}parametrizations.weight.original1"}  # fmt: skip
    return {names.get(key, key): value for key, value in state.items()}
