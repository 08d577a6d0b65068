"""What is kept between frames follows whatever changes what it was made of."""

import pytest
import torch

from talkingavatar.config.schema import RateConfig
from talkingavatar.networks.kept import Kept
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
