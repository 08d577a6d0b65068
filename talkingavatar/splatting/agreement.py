"""Whether gsplat's kernels draw on this machine what the readable rasteriser draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import torch
from torch import Tensor

from talkingavatar.errors import UserError
from talkingavatar.splatting import gsplat_kernels
from talkingavatar.splatting.bench import camera, shell
from talkingavatar.splatting.conventions import Mode, image_gradient, watched
from talkingavatar.splatting.gsplat_backend import rasterise_gsplat
from talkingavatar.splatting.plain import rasterise_plain
from talkingavatar.types import Cameras, Gaussians, Rendering

Rasteriser = Callable[[Gaussians, Cameras, Tensor, Mode], Rendering]
SPLATS, SIZE = 100, 48  # and pixels: tiles of the plain one take their time
MODES: tuple[Mode, ...] = ("2dgs", "3dgs")
FIELD = "gsplat's CUDA kernels"
MOST = 0.01  # relative: kernels sum in another order, with fast functions


def check_agreement(device: str) -> float:
    """The largest relative difference of pictures, gradients and the density signal, over both modes.

    Raises:
        UserError: the kernels cannot be had, or what they draw is not what it should be.
    """
    gsplat_kernels.load_kernels()
    found: dict[str, float] = {}
    try:
        for mode in MODES:
            theirs, plain = (_drawn(rasteriser, mode, device) for rasteriser in (rasterise_gsplat, rasterise_plain))
            found |= {f"{mode} {name}": float((theirs[name] - x).norm() / x.norm()) for name, x in plain.items()}
    except RuntimeError as error:  # of a library made for another GPU, CUDA's own
        told, expected = str(error).splitlines()[0], "kernels that run on this GPU"
        raise UserError(FIELD, told, expected, f"remove {gsplat_kernels.library()}, or use trainer=cpu") from error
    worst = max(found, key=lambda name: found[name])
    if not found[worst] < MOST:
        told, expected = f"{worst} differs by {found[worst]:.2g} from the plain rasteriser's", f"less than {MOST}"
        raise UserError(FIELD, told, expected, "use another gsplat, or trainer=cpu")
    return found[worst]


def _drawn(rasteriser: Rasteriser, mode: Mode, device: str) -> dict[str, Tensor]:
    """Pictures of a shell, gradients of their sum weighted at random, and what density control reads."""
    scene, views = shell(SPLATS, device), camera(SIZE, device)
    rendering = rasteriser(scene, views, torch.tensor([0.2, 0.5, 0.9], device=device), mode)
    watched(rendering.info).retain_grad()
    pictures = {f.name: x for f in fields(Rendering) if isinstance(x := getattr(rendering, f.name), Tensor)}
    rng = torch.Generator().manual_seed(0)
    torch.stack([(x * torch.rand(x.shape, generator=rng).to(x)).sum() for x in pictures.values()]).sum().backward()
    leaves = {f"gradient of {f.name}": getattr(scene, f.name).grad for f in fields(Gaussians)}
    return {name: x.detach() for name, x in (pictures | leaves).items()} | {"density": image_gradient(rendering.info)}
