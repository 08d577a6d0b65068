"""LPIPS's network with backbones found on disk: the lpips wheel brings only its linear heads, nothing is downloaded."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from talkingavatar.errors import UserError
from talkingavatar.paths import weights_root
from talkingavatar.runtime.files import sha256

# The name in torchvision's hub cache and the `features.*` part alone, by backbone.
FILES = {
    "alex": ("alexnet-owt-7be5be79.pth", "alexnet_features.pth"),
    "vgg": ("vgg16-397923af.pth", "vgg16_features.pth"),
    "squeeze": ("squeezenet1_1-b8a52dc0.pth", "squeezenet1_1_features.pth"),
}


@dataclass(frozen=True)
class Backbone:
    """A backbone file, or where it was looked for in vain."""

    name: str
    looked_in: tuple[Path, ...]
    path: Path | None

    @property
    def why_skipped(self) -> str:
        word = "lpips" if self.name == "alex" else f"lpips_{self.name}"
        places = ", ".join(str(folder) for folder in self.looked_in)
        return f"no {FILES[self.name][0]} in {places}; doctor fetch={word} gets it"

    def checksum(self) -> str:
        assert self.path is not None
        return sha256(self.path)


def find_backbone(name: str, folder: str | None = None) -> Backbone:
    """Looks in `folder`, else in `$TALKINGAVATAR_WEIGHTS` and torch's hub cache.

    Raises:
        UserError: there is no such backbone.
    """
    if name not in FILES:
        raise UserError("metrics.lpips", repr(name), f"some of {', '.join(FILES)}", "correct it")
    places = [Path(folder).expanduser()] if folder else [p for p in (weights_root(),) if p]
    if not folder:
        places.append(Path(torch.hub.get_dir()) / "checkpoints")
    files = (place / file for place in places for file in FILES[name])
    return Backbone(name, tuple(places), next((f for f in files if f.is_file()), None))


def load_perceptual(backbone: Backbone) -> nn.Module:
    """LPIPS v0.1 of a backbone that was found; takes pictures in [-1, 1], (B 3 H W), and lets gradients pass.

    Raises:
        UserError: the file is not the backbone's weights.
    """
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips calls torchvision by its old argument names
        network = lpips.LPIPS(net=backbone.name, pnet_rand=True, verbose=False)
    _fill(network.net, backbone)
    return network.eval().requires_grad_(False)


def _fill(network: nn.Module, backbone: Backbone) -> None:
    """Copies torchvision's `features.<i>.*` into lpips' `slice<k>.<i>.*`."""
    assert backbone.path is not None
    wanted = network.state_dict()
    try:
        given: dict[str, Any] = torch.load(backbone.path, map_location="cpu", weights_only=True)
        filled = {key: given["features." + key.split(".", 1)[1]] for key in wanted}
        network.load_state_dict(filled)
    except Exception as error:  # torch.load raises many kinds on a foreign file
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise UserError(str(backbone.path), reason, f"weights of {backbone.name}", "replace or remove it") from error
