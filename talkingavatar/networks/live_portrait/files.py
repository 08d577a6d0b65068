"""Where LivePortrait's five files lie, and the networks that are in them. Nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from talkingavatar.errors import UserError
from talkingavatar.networks.live_portrait.appearance import AppearanceExtractor
from talkingavatar.networks.live_portrait.generator import SpadeGenerator
from talkingavatar.networks.live_portrait.motion import MotionExtractor
from talkingavatar.networks.live_portrait.stitching import EYES, MOUTH, SHOULDERS, Stitching
from talkingavatar.networks.live_portrait.warping import WarpingModule
from talkingavatar.networks.live_portrait.widths import PUBLISHED, Widths
from talkingavatar.networks.published_weights import filled, first_file, read_published, unwrapped, usual_places
from talkingavatar.runtime.files import sha256

STITCHING = "stitching_retargeting_module"
NETWORKS: dict[str, type[nn.Module]] = {
    "appearance_feature_extractor": AppearanceExtractor,
    "motion_extractor": MotionExtractor,
    "warping_module": WarpingModule,
    "spade_generator": SpadeGenerator,
    STITCHING: Stitching,
}
ENDINGS = (".safetensors", ".pth")
# Below a folder of weights, as the authors', ComfyUI's and nobody's arrangements have them.
FOLDERS = ("", "liveportrait", "LivePortrait", "liveportrait/base_models", "liveportrait/retargeting_models",
           "base_models", "retargeting_models")  # fmt: skip
REPOSITORIES = ("models--Kijai--LivePortrait_safetensors", "models--KwaiVGI--LivePortrait")
SOURCE = "github.com/KwaiVGI/LivePortrait"
PARTS = (SHOULDERS, MOUTH, EYES)


@dataclass(frozen=True)
class LivePortraitFiles:
    """What was found of the five, by name."""

    looked_in: tuple[Path, ...]
    paths: dict[str, Path]

    @property
    def missing(self) -> list[str]:
        return [name for name in NETWORKS if name not in self.paths]

    @property
    def why_skipped(self) -> str:
        """For a table's reader."""
        places = ", ".join(map(str, self.looked_in))
        return f"no {', '.join(self.missing)} (.safetensors or .pth) in {places}; from {SOURCE}"

    def checksums(self) -> dict[str, str]:
        return {path.name: sha256(path) for path in self.paths.values()}

    def load(self, name: str, widths: Widths = PUBLISHED) -> Any:
        """One of the networks.

        Raises:
            UserError: its file is not what was published.
        """
        file = self.paths[name]
        given = read_published(file)
        state = _stitching(given, file) if name == STITCHING else unwrapped(given)
        return filled(partial(NETWORKS[name], widths), state, file, f"LivePortrait's {name}")


def _stitching(given: dict[str, Any], file: Path) -> dict[str, Any]:
    """Its three networks stand in dicts of their own, or flat as `retarget_eye_module.mlp.0.weight`."""
    state: dict[str, Any] = {}
    for key, value in given.items():
        if key in PARTS and isinstance(value, dict):
            state |= {f"{key}.{inner}": tensor for inner, tensor in unwrapped(value).items()}
        else:
            part, _, inner = key.partition(".")
            state[f"{part.removesuffix('_module')}.{inner}" if inner else key] = value
    return state


def find_live_portrait(path: str | None = None) -> LivePortraitFiles:
    """Looks in `path`, else in `$TALKINGAVATAR_WEIGHTS`, the cache's `weights` and the Hugging Face hub's cache."""
    places = usual_places(path, REPOSITORIES)
    found = {name: first_file(places, FOLDERS, [name + end for end in ENDINGS]) for name in NETWORKS}
    return LivePortraitFiles(tuple(places), {name: file for name, file in found.items() if file is not None})


def complete(files: LivePortraitFiles) -> LivePortraitFiles:
    """
    Raises:
        UserError: one of the five is missing.
    """
    if files.missing:
        raise UserError("source", f"liveportrait, {files.why_skipped}", "all five files",
                        "get them there and put them in $TALKINGAVATAR_WEIGHTS or give weights=<folder>, "
                        "or leave source=mesh_code, which needs none")  # fmt: skip
    return files
