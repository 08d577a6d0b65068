"""Real spherical harmonics up to degree 3, in the basis and sign convention of 3D Gaussian splatting."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

SH_C0 = 0.28209479177387814  # 1 / (2 sqrt(pi)): the constant band


def sh_degree(count: int) -> int:
    """Degree of a set of `count` coefficients.

    Raises:
        ValueError: `count` is not 1, 4, 9 or 16.
    """
    degree = math.isqrt(count) - 1
    if (degree + 1) ** 2 != count or not 0 <= degree <= 3:
        raise ValueError(f"{count} spherical harmonics: expected 1, 4, 9 or 16 (degree 0 to 3)")
    return degree


def sh_basis(directions: Float[Tensor, "*b 3"], degree: int) -> Float[Tensor, "*b K"]:
    """The (degree + 1)^2 basis functions at unit directions (Sloan, "Efficient SH Evaluation", JCGT 2013)."""
    x, y, z = directions.unbind(-1)
    basis = [torch.full_like(x, SH_C0)]
    if degree >= 1:
        c = 0.48860251190292
        basis += [-c * y, c * z, -c * x]
    if degree >= 2:
        xx, yy, zz = x * x, y * y, z * z
        basis += [
            1.092548430592079 * x * y,
            -1.092548430592079 * y * z,
            0.9461746957575601 * zz - 0.3153915652525201,
            -1.092548430592079 * x * z,
            0.5462742152960395 * (xx - yy),
        ]
    if degree >= 3:
        basis += [
            -0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * x * y * z,
            y * (0.4570457994644658 - 2.285228997322329 * zz),
            z * (1.865881662950577 * zz - 1.119528997770346),
            x * (0.4570457994644658 - 2.285228997322329 * zz),
            1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ]
    return torch.stack(basis, -1)


def sh_to_rgb(sh: Float[Tensor, "*b K 3"], directions: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
    """Colour seen along `directions` (any length but zero, from the eye to the point): max(SH + 0.5, 0)."""
    degree = sh_degree(sh.shape[-2])
    if degree == 0:
        return (SH_C0 * sh[..., 0, :] + 0.5).clamp_min(0)
    basis = sh_basis(normalize(directions, dim=-1), degree)
    return ((basis[..., None] * sh).sum(-2) + 0.5).clamp_min(0)


def rgb_to_sh(rgb: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
    """The constant coefficient whose colour is `rgb`."""
    return (rgb - 0.5) / SH_C0
