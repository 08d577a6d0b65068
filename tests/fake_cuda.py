"""A CUDA device that is none: its tensors lie on the CPU, but say "cuda" and mix with no others.

So what runs on a GPU runs here to its end, with values: whatever looks at `tensor.device` takes the way for CUDA, and
what would fail there for a tensor left on the CPU fails here. `Counted` tells for what the host would wait.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from talkingavatar.types import Cameras, Gaussians, Rendering

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
READS = ("numpy", "__array__")
# Numbers of rows may come from the CPU, and so may what is copied: the host waits, but it works.
MIXES = ("__getitem__", "__setitem__", "copy_")
# What the host reads; what it copies to the device; what cannot go on before a size is known on the host.
ITEMS = ("item", "tolist", "__float__", "__int__", "__bool__", "__index__", "__contains__", "equal")
COPIES = ("tensor", "as_tensor", "new_tensor")
MASKED = ("index", "index_put", "index_put_")
SIZES = ("nonzero", "masked_select", "_unique2", "bincount", "_linalg_check_errors")


class OnCuda(Tensor):
    """A tensor that says that it is on a CUDA device."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return CUDA

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copy = self.detach().clone()
        return nn.Parameter(copy, self.requires_grad) if isinstance(self, nn.Parameter) else copy


class Pinned(Tensor):
    """A tensor of the CPU that a device may fetch while the host goes on."""


class FakeCuda(TorchFunctionMode):
    """While it is entered, tensors can be made on "cuda" and moved there.

    `waits` are the reasons for which the host would have waited, each with the line that gave it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, kwargs = getattr(func, "__name__", ""), dict(kwargs or {})
        if func is Tensor.pin_memory:
            return args[0].clone().as_subclass(Pinned)
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            moved, ahead = _moved(name, *args, **kwargs), isinstance(args[0], Pinned) and kwargs.get("non_blocking")
            if isinstance(moved, OnCuda) != isinstance(args[0], OnCuda) and not ahead:
                self.waits.append(_told(f"copy of {tuple(moved.shape)}"))
            return moved
        if func is torch._has_compatible_shallow_copy_type:
            # Of one device, or else a module that is moved gets new parameters.
            return isinstance(args[0], OnCuda) == isinstance(args[1], OnCuda)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        far = [isinstance(tensor, OnCuda) for tensor in tensors]
        if any(far) and name in READS:
            raise TypeError("a CUDA tensor has no array")
        left = [tuple(tensor.shape) for tensor, f in zip(tensors, far, strict=True) if not f and tensor.dim()]
        if any(far) and left and name not in MIXES:
            raise RuntimeError(f"{name} of tensors on several devices: on the CPU those of shape {left}")
        if (asked := kwargs.get("device")) is not None:
            kwargs["device"] = CPU
        stays = far[0] if far and name in MIXES else any(far)
        there = stays if asked is None else torch.device(asked).type == "cuda"
        if there and (name in ITEMS or name in COPIES or (name in MIXES and _from_host(args))):
            self.waits.append(_told(name))
        learned = kwargs.pop("requires_grad", False)
        result = _placed(func(*args, **kwargs), there)
        return result.requires_grad_() if learned else result


def _from_host(args: tuple[Any, ...]) -> bool:
    """Whether an index, or what is copied, has to be sent to the device first."""
    leaves = tree_leaves(args[1:])
    lists = any(isinstance(part, list) for part in (args[1] if isinstance(args[1], tuple) else args[1:2]))
    return lists or any(isinstance(leaf, Tensor) and not isinstance(leaf, OnCuda) for leaf in leaves)


def _told(what: str) -> str:
    """With the line of ours that asked for it."""
    frame = sys._getframe(2)
    while frame.f_back is not None and "talkingavatar/" not in frame.f_code.co_filename:
        frame = frame.f_back
    return f"{what} at {Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


class Counted(TorchDispatchMode):
    """Operations, each but a view about one launch, and those whose size the host waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: list[str] = []
        self.waits: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        masked = name in MASKED and any(i is not None and i.dtype == torch.bool for i in args[1])
        open_ended = name == "repeat_interleave" and kwargs.get("output_size") is None
        read = name == "_local_scalar_dense" and isinstance(args[0], OnCuda)
        if name in SIZES or masked or open_ended or read:
            self.waits.append(_told(name))
        if not func.is_view:
            self.launches.append(name)
        return func(*args, **kwargs)


def _placed(value: Any, there: bool) -> Any:
    """The same with its tensors on the device or on the CPU; those that are there already are themselves."""
    if there:
        return tree_map_only(Tensor, lambda t: t if isinstance(t, OnCuda) else t.as_subclass(OnCuda), value)
    return tree_map_only(OnCuda, lambda t: t.as_subclass(Tensor), value)


def _moved(name: str, tensor: Tensor, *to: Any, **named: Any) -> Tensor:
    """`Tensor.to`, `cpu` and `cuda`."""
    asked: list[Any] = [{"cpu": CPU, "cuda": CUDA}[name]] if name != "to" else [*to, *named.values()]
    there, dtype = isinstance(tensor, OnCuda), tensor.dtype
    for one in asked:
        if isinstance(one, torch.dtype):
            dtype = one
        elif isinstance(one, Tensor):
            there, dtype = isinstance(one, OnCuda), one.dtype
        elif isinstance(one, str | torch.device):
            there = torch.device(one).type == "cuda"
    if there == isinstance(tensor, OnCuda):
        return _placed(Tensor.to(tensor, dtype), there)
    return _placed(Tensor.to(tensor, dtype, copy=True), there)


def draw(gaussians: Gaussians, cameras: Cameras, background: Tensor, mode: str, backend: str) -> Rendering:
    """In place of the rasteriser: its results' shapes, numbers that depend on all that is given.

    All of it must be on the device.
    """
    given = [*vars(gaussians).values(), cameras.viewmats, cameras.Ks, background]
    assert all(isinstance(tensor, OnCuda) for tensor in given)
    views, height, width = len(cameras), cameras.height, cameras.width
    seen = gaussians.means @ cameras.viewmats[:, :3, :3].mT + cameras.viewmats[:, None, :3, 3]
    probe = torch.zeros_like(seen[..., :2], requires_grad=True)
    parts = [seen, gaussians.quats, gaussians.scales, gaussians.opacities[:, None], gaussians.sh.flatten(1)]
    shade = sum(part.mean((-2, -1)) for part in parts).sigmoid() + probe.mean((-2, -1))
    image = shade.view(views, 1, 1, 1).expand(views, height, width, 1)
    colour = image * background
    normals = torch.nn.functional.normalize(colour, dim=-1)
    radii = torch.ones_like(seen[..., :2]).int()
    info = {"radii": radii, "means2d": probe, "width": width, "height": height, "n_cameras": views}
    return Rendering(colour, image, image, image, normals, normals, info)
