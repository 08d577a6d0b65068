"""A step's losses as one number and as what is told of them."""

import pytest
import torch

from talkingavatar.config.schema import LossTermConfig
from talkingavatar.training.terms import Scalars, weighted
from tests.fake_cuda import CUDA, FakeCuda

ROWS = {"l1": LossTermConfig(weight=0.8), "dssim": LossTermConfig(weight=0.2)}


def test_the_total_is_the_weighted_sum():
    total, scalars = weighted({"l1": torch.tensor(0.5), "dssim": torch.tensor(2.0)}, ROWS, 3)
    assert float(total) == pytest.approx(0.8)
    assert scalars.read() == pytest.approx({"loss/l1": 0.5, "loss/dssim": 2.0, "loss/total": 0.8})


def test_what_is_not_finite_is_told_at_once_but_by_a_gpu_when_it_is_asked():
    with pytest.raises(RuntimeError, match=r"the loss is nan at step 7: .*'loss/l1': nan"):
        weighted({"l1": torch.tensor(torch.nan)}, ROWS, 7)
    with FakeCuda() as device:
        _, scalars = weighted({"l1": torch.full((), torch.inf, device=CUDA)}, ROWS, 7)
        assert device.waits == []
        with pytest.raises(RuntimeError, match="the loss is inf at step 7"):
            scalars.under("driver/").read()


def test_what_the_host_knows_is_told_beside_it():
    assert Scalars(("loss/total",), torch.ones(1), 0, {"gaussians": 9.0}).read() == {
        "gaussians": 9.0,
        "loss/total": 1.0,
    }
