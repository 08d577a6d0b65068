"""Spherical harmonics: an orthonormal basis, in gsplat's order and signs."""

import pytest
import torch
from gsplat.cuda._torch_impl import _spherical_harmonics

from talkingavatar.geometry.spherical_harmonics import rgb_to_sh, sh_basis, sh_degree, sh_to_rgb


def directions(count):
    return torch.nn.functional.normalize(
        torch.randn(count, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64), dim=-1
    )


def test_the_basis_is_orthonormal():
    """By Monte Carlo over the sphere."""
    basis = sh_basis(directions(400_000), 3)
    gram = 4 * torch.pi * basis.T @ basis / len(basis)
    assert torch.allclose(gram, torch.eye(16, dtype=gram.dtype), atol=0.02)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_colours_are_gsplats(degree):
    d = 3 * directions(100)
    sh = torch.randn(100, (degree + 1) ** 2, 3, dtype=d.dtype, generator=torch.Generator().manual_seed(1))
    expected = (_spherical_harmonics(degree, d, sh) + 0.5).clamp_min(0)
    assert torch.allclose(sh_to_rgb(sh, d), expected, atol=1e-7)


def test_a_constant_colour_comes_back():
    rgb = torch.rand(10, 3)
    assert torch.allclose(sh_to_rgb(rgb_to_sh(rgb)[:, None], torch.ones(10, 3)), rgb, atol=1e-6)


def test_other_counts_are_refused():
    for count in (0, 2, 8, 25):
        with pytest.raises(ValueError, match="spherical harmonics"):
            sh_degree(count)
