"""Each group is stepped as its row of the schedule says, or not at all."""

import torch
from torch import nn

from talkingavatar.config.schema import RateConfig
from talkingavatar.training.optimisers import NamedOptimisers, adams


def group(values, rate=0.1, **options):
    parameter = nn.Parameter(torch.tensor(values))
    optimiser = NamedOptimisers(adams({"a": [parameter]}, {"a": RateConfig(**options)}))
    optimiser.set_rate("a", rate)
    return parameter, optimiser


def test_decay_takes_its_share_of_what_no_gradient_holds():
    parameter, optimiser = group([2.0, -4.0], weight_decay=0.5)
    parameter.grad = torch.zeros(2)
    optimiser.step()
    torch.testing.assert_close(parameter.data, torch.tensor([2.0, -4.0]) * (1 - 0.1 * 0.5))


def test_a_gradient_longer_than_the_limit_is_shortened_and_no_other():
    for gradient, kept in (([3.0, 4.0], [0.6, 0.8]), ([0.3, 0.4], [0.3, 0.4])):
        parameter, optimiser = group([0.0, 0.0], clip=1.0, betas=[0.5, 0.9])
        parameter.grad = torch.tensor(gradient)
        optimiser.step()
        moment = optimiser.state_dict()["a"]["state"][0]["exp_avg"]
        torch.testing.assert_close(moment, 0.5 * torch.tensor(kept), rtol=1e-5, atol=0)


def test_epsilon_bounds_what_a_tiny_gradient_does():
    """Adam's first step is rate * g / (|g| + epsilon)."""
    for epsilon, way in ((1e-15, 0.1), (1e-6, 0.05)):
        parameter, optimiser = group([0.0], eps=epsilon)
        parameter.grad = torch.tensor([1e-6])
        optimiser.step()
        torch.testing.assert_close(parameter.data, torch.tensor([-way]), rtol=1e-3, atol=0)


def test_groups_left_out_or_at_rate_zero_keep_values_and_moments():
    parameters = {name: nn.Parameter(torch.ones(1)) for name in ("a", "b", "c")}
    rows = {name: RateConfig() for name in parameters}
    optimiser = NamedOptimisers(adams({name: [p] for name, p in parameters.items()}, rows))
    for name, rate in (("a", 0.1), ("b", 0.1), ("c", 0.0)):
        optimiser.set_rate(name, rate)
        parameters[name].grad = torch.ones(1)
    optimiser.step(without=("b",))
    assert [float(p) == 1.0 for p in parameters.values()] == [False, True, True]
    assert optimiser.state_dict()["b"]["state"] == optimiser.state_dict()["c"]["state"] == {}
    optimiser.step_groups(["b"])
    assert float(parameters["b"]) < 1.0
