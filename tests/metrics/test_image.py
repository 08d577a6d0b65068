import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from talkingavatar.errors import UserError
from talkingavatar.metrics.image import ImageMetrics, check_comparable, crop_slices, psnr


def pair():
    torch.manual_seed(0)
    a = torch.rand(60, 70, 3)
    return a, (a + 0.1 * torch.randn_like(a)).clamp(0, 1)


def test_psnr_and_ssim_agree_with_scikit_image():
    a, b = pair()
    metrics = ImageMetrics()
    metrics.add(a, b, {})
    x, y = a.double().numpy(), b.double().numpy()
    assert metrics.means()["full/psnr"] == pytest.approx(peak_signal_noise_ratio(y, x, data_range=1), abs=1e-3)
    _, reference = structural_similarity(
        x, y, data_range=1.0, gaussian_weights=True, sigma=1.5, win_size=11,
        use_sample_covariance=False, channel_axis=2, full=True,
    )  # fmt: skip
    # torchmetrics averages inside the border of half a window, scikit-image inside it as well.
    inside = reference[5:-5, 5:-5].mean()
    assert metrics.means()["full/ssim"] == pytest.approx(inside, abs=2e-3)


def test_values_outside_the_range_are_clamped():
    a, b = pair()
    assert psnr(a * 0 + 5, torch.ones_like(b)) == pytest.approx(120)


def test_a_region_out_of_sight_is_left_out():
    a, b = pair()
    metrics = ImageMetrics()
    metrics.add(a, b, {"head": np.array([5.0, 5, 40, 40]), "left_hand": np.full(4, np.nan)})
    metrics.add(a, b, {"head": np.full(4, np.nan), "left_hand": np.full(4, np.nan)})
    assert "left_hand/psnr" not in metrics.means()
    assert len(metrics.values["head/psnr"]) == 1 and len(metrics.values["full/psnr"]) == 2
    assert np.isfinite(metrics.by_frame()["head/psnr"]).tolist() == [True, False]


def test_crops_are_grown_and_kept_inside():
    rows, columns = crop_slices(np.array([-10.0, 50, 10, 130]), 128, 128)
    assert rows.stop <= 128 and columns.start == 0
    assert rows.stop - rows.start == 96 and columns.stop - columns.start == 48


def test_the_matte_takes_the_background_out():
    a, b = pair()
    matte = torch.zeros(60, 70, 1)
    matte[10:40, 20:50] = 1
    beside = a.clone()
    beside[:5] = 1 - beside[:5]  # a fault outside the matte only
    metrics = ImageMetrics()
    metrics.add(beside, b, {}, matte)
    assert metrics.means()["matte/psnr"] == pytest.approx(psnr(a[10:40, 20:50], b[10:40, 20:50]), abs=1e-3)
    assert metrics.means()["full/psnr"] < psnr(a, b) - 3


def test_hands_are_both_hands_wherever_seen():
    a, b = pair()
    metrics = ImageMetrics()
    box, unseen = np.array([0.0, 0, 48, 48]), np.full(4, np.nan)
    metrics.add(a, b, {"left_hand": box, "right_hand": unseen})
    metrics.add(a, a, {"left_hand": box, "right_hand": box})
    means = metrics.means()
    assert means["hands/psnr"] == pytest.approx(np.mean(metrics.values["left_hand/psnr"] + [means["right_hand/psnr"]]))
    one, both = metrics.by_frame()["hands/ssim"]
    assert one == metrics.values["left_hand/ssim"][0] and both == pytest.approx(1)
    assert metrics.by_frame()["full/ssim"].mean() == means["full/ssim"]


@pytest.mark.parametrize(
    ("rendered", "target", "boxes", "message"),
    [
        (torch.rand(60, 70, 3), torch.rand(60, 71, 3), {}, "60, 71"),
        (torch.rand(60, 70, 3), torch.rand(60, 70, 3) * 255, {}, r"expected \[0, 1\]"),
        (torch.rand(60, 70, 3), torch.rand(60, 70, 3), {"mouth": np.array([30.0, 5, 30, 9])}, "mouth crop"),
        (torch.rand(60, 70, 3), torch.rand(60, 70, 3), {"head": np.array([80.0, 5, 90, 9])}, "head crop"),
    ],
)
def test_what_cannot_be_compared_is_a_clear_error(rendered, target, boxes, message):
    with pytest.raises(UserError, match=message):
        check_comparable(rendered, target, boxes)
