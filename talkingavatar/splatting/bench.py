"""Milliseconds per frame of the rasteriser, forward and forward with backward, against the plain version."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import fields

import torch

from talkingavatar.errors import UserError
from talkingavatar.splatting.render import rasterise
from talkingavatar.types import Cameras, Gaussians

HEADER = ("Gaussians", "image", "mode", "forward", "frames/s", "fwd+bwd", "steps/s", "plain fwd+bwd", "ratio")


def shell(count: int, device: str) -> Gaussians:
    """Splats on an ellipsoid, as large as it takes to cover it, much like an avatar's surface."""
    rng = torch.Generator().manual_seed(0)
    normals = torch.nn.functional.normalize(torch.randn(count, 3, generator=rng), dim=-1)
    spacing = 0.8 * math.sqrt(8 / count)
    g = Gaussians(
        means=normals * torch.tensor([0.7, 1.0, 0.7]),
        quats=torch.randn(count, 4, generator=rng),
        scales=spacing * (torch.rand(count, 3, generator=rng) * 0.7 + 0.5),
        opacities=torch.rand(count, generator=rng) * 0.7 + 0.3,
        sh=torch.randn(count, 1, 3, generator=rng) * 0.5,
    )
    return Gaussians(**{f.name: getattr(g, f.name).to(device).requires_grad_() for f in fields(g)})


def camera(size: int, device: str) -> Cameras:
    """One camera 4 m in front of the shell, which fills most of its image."""
    view = torch.eye(4)[None].clone()
    view[:, 2, 3] = 4
    K = torch.tensor([[[1.6 * size, 0, size / 2], [0, 1.6 * size, size / 2], [0, 0, 1]]])
    return Cameras(view, K, size, size).to(device)


def bench_raster(
    counts: list[int], sizes: list[int], modes: list[str], device: str, repeats: int, plain: bool
) -> list[dict[str, float | int | str | None]]:
    """Print one line per case as it is measured; returns them, times in milliseconds.

    Raises:
        UserError: there is no such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device", "cuda, but no CUDA device", "a CUDA device", "use --device cpu")
    print(f"{_describe(device)}; median of {repeats} frames, milliseconds")
    print("".join(f"{name:>15}" for name in HEADER), flush=True)
    rows = []
    for count in counts:
        for size in sizes:
            for mode in modes:
                row = _case(count, size, mode, device, repeats, plain)
                rows.append(row)
                print("".join(f"{_cell(value):>15}" for value in row.values()), flush=True)
    return rows


def _case(
    count: int, size: int, mode: str, device: str, repeats: int, plain: bool
) -> dict[str, float | int | str | None]:
    scene, view, background = shell(count, device), camera(size, device), torch.ones(3, device=device)

    def forward() -> None:
        with torch.no_grad():
            rasterise(scene, view, background, mode)

    def step(backend: str = "auto") -> None:
        for leaf in vars(scene).values():
            leaf.grad = None
        rendering = rasterise(scene, view, background, mode, backend)
        loss = rendering.rgb.square().mean()
        if rendering.normals is not None and rendering.depth_normals is not None:
            loss = loss + (1 - (rendering.normals * rendering.depth_normals).sum(-1)).mean()
        loss.backward()

    once, both = _milliseconds(forward, repeats), _milliseconds(step, repeats)
    reference = _milliseconds(lambda: step("plain"), 1, warm=False) if plain else None
    ratio = None if reference is None else reference / both
    values = (count, size, mode, once, 1000 / once, both, 1000 / both, reference, ratio)
    return dict(zip(HEADER, values, strict=True))


def _milliseconds(call: Callable[[], None], repeats: int, warm: bool = True) -> float:
    """Median wall time. `warm`: two calls before, which compile and fill caches."""
    times = []
    for i in range(repeats + 2 * warm):
        start = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if i >= 2 * warm:
            times.append(1000 * (time.perf_counter() - start))
    return sorted(times)[len(times) // 2]


def _describe(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def _cell(value: float | int | str | None) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return "-" if value is None else str(value)
