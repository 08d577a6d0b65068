"""What is kept between frames follows whatever changes what it was made of."""

import pytest
import torch

from talkingavatar.config.schema import RateConfig
from talkingavatar.networks.kept import Chosen, Kept
from talkingavatar.training.optimisers import NamedOptimisers, adams


@pytest.mark.parametrize("frozen_between", [True, False])
def test_an_optimiser_s_step_is_noticed(frozen_between):
    """A fused one does not count its changes; a preview between two steps must not see earlier weights."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimiser = NamedOptimisers(adams({"weight": [weight]}, {"weight": RateConfig()}))
    optimiser.set_rate("weight", 0.1)
    kept, calls = Kept[torch.Tensor](), []

    def doubled():
        calls.append(1)
        return 2 * weight.detach()

    for _ in range(3):
        weight.requires_grad_(True)
        weight.grad = torch.ones(3)
        optimiser.step()
        weight.requires_grad_(not frozen_between)
        with torch.no_grad():
            assert torch.equal(kept.get(doubled, weight), 2 * weight)
            kept.get(doubled, weight)
    assert len(calls) == (3 if frozen_between else 6)


def test_rows_are_chosen_anew_for_another_tensor_or_under_another_key():
    """Not when the tensor's numbers change: their host does not see that."""
    chosen, values = Chosen(), torch.tensor([1.0, -1.0, 2.0])

    def rows(key=0):
        return chosen.get(lambda: values > 0, values, key).tolist()

    assert rows() == [0, 2]
    values[0] = -1
    assert rows() == [0, 2] and rows(key=1) == [2]
    values = torch.tensor([3.0])
    assert rows(key=1) == [0]
