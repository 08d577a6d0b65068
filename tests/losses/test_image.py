import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from talkingavatar.losses import dssim, l1, normal_consistency, ssim_map
from talkingavatar.splatting.cpu.launch import set_threads


def pictures(height=31, width=45):
    torch.manual_seed(0)
    a = torch.rand(2, height, width, 3)
    return a, (a + 0.2 * torch.rand_like(a)).clamp(0, 1)


@pytest.mark.parametrize("size", [(31, 45), (70, 90), (3, 2)])
@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("term", [dssim, l1, normal_consistency])
def test_compiled_and_plain_terms_agree_in_value_and_gradient(term, mean, size):
    """Of a mean, all gradients that come back are one number; a double is computed by torch's own operations."""
    results = []
    for dtype in (torch.float32, torch.float64):
        a, b = (x.to(dtype) for x in pictures(*size))
        x = a.requires_grad_()
        value = term(x, b)
        (value.mean() if mean else (value * torch.linspace(0, 1, value.numel()).view_as(value)).sum()).backward()
        results.append((value.detach(), x.grad))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain.float(), atol=2e-4 * max(1e-3, float(plain.abs().max())), rtol=1e-3)


def test_a_gradient_reaches_both_normals():
    a, b = (x.requires_grad_() for x in pictures())
    normal_consistency(a, b).sum().backward()
    torch.testing.assert_close((a.grad, b.grad), (-b.detach(), -a.detach()))


@pytest.mark.parametrize("term", [dssim, l1, normal_consistency])
def test_the_number_of_threads_changes_no_bit(term):
    a, b = pictures(100, 80)
    results = []
    try:
        for threads in (1, 2, 3):
            set_threads(threads)
            x = a.clone().requires_grad_()
            value = term(x, b)
            value.mean().backward()
            results.append((value.detach(), x.grad))
    finally:
        set_threads(None)
    assert all(torch.equal(one, other) for result in results[1:] for one, other in zip(results[0], result, strict=True))


def test_agrees_with_scikit_image_inside_the_border():
    a, b = (x.permute(0, 3, 1, 2) for x in pictures())
    _, reference = structural_similarity(
        a[0, 0].double().numpy(), b[0, 0].double().numpy(), data_range=1.0, gaussian_weights=True,
        sigma=1.5, win_size=11, use_sample_covariance=False, full=True,
    )  # fmt: skip
    ours = ssim_map(a.double(), b.double())[0, 0].numpy()
    np.testing.assert_allclose(ours[5:-5, 5:-5], reference[5:-5, 5:-5], atol=1e-6)


def test_equal_pictures_cost_nothing():
    image = torch.rand(1, 20, 20, 3)
    assert dssim(image, image).abs().max() < 1e-4
    assert l1(image, image).max() == 0


def rounded(x):
    """To the ten bits that TF32 keeps of a number."""
    return (x.view(torch.int32) + 0x1000 & ~0x1FFF).view(torch.float32)


def test_a_gpu_that_rounds_what_it_convolves_changes_nothing(monkeypatch):
    """Tensor cores take convolutions of one group alone; a bright flat picture's variance is below their last digit."""
    a = 0.9 + 0.01 * torch.rand(1, 3, 40, 40)
    b = a + 0.002 * torch.rand_like(a)
    exact = ssim_map(a, b)
    taken = torch.nn.functional.conv2d

    def tensor_cores(values, kernels, groups=1, **named):
        if groups == 1:
            values, kernels = rounded(values), rounded(kernels)
        return taken(values, kernels, groups=groups, **named)

    monkeypatch.setattr("talkingavatar.losses.image.conv2d", tensor_cores)
    assert torch.equal(ssim_map(a, b), exact)
    torch.testing.assert_close(exact, ssim_map(a.double(), b.double()).float(), atol=2e-3, rtol=0)
