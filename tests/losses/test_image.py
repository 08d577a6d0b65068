import numpy as np
import torch
from skimage.metrics import structural_similarity

from talkingavatar.losses import dssim, l1, ssim_map
from talkingavatar.losses.ssim_cpu import ssim_map_cpu


def pictures(height=31, width=45):
    torch.manual_seed(0)
    a = torch.rand(2, 3, height, width)
    return a, (a + 0.2 * torch.rand_like(a)).clamp(0, 1)


def test_compiled_ssim_equals_the_plain_version_in_value_and_gradient():
    a, b = pictures()
    weight = torch.rand_like(a)
    results = []
    for function in (ssim_map, ssim_map_cpu):
        x = a.clone().requires_grad_()
        value = function(x, b)
        (value * weight).sum().backward()
        results.append((value.detach(), x.grad))
    torch.testing.assert_close(results[0][0], results[1][0], atol=2e-5, rtol=0)
    torch.testing.assert_close(results[0][1], results[1][1], atol=2e-4, rtol=1e-3)


def test_agrees_with_scikit_image_inside_the_border():
    a, b = pictures()
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
