import pytest
import torch

from talkingavatar.losses import acceleration_difference, lip_distance, parameter_difference, velocity_difference

LOSSES = {0: parameter_difference, 1: velocity_difference, 2: acceleration_difference}


@pytest.mark.parametrize("order", LOSSES)
@pytest.mark.parametrize("squared", [True, False])
def test_a_polynomial_apart_is_seen_by_the_derivatives_it_has(order, squared):
    time = torch.arange(7.0)
    truth = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0)).double()
    for degree, derivatives in enumerate([(3.0, 0, 0), (None, 3.0, 0), (None, None, 6.0)]):
        apart = (3 * time**degree)[None, :, None].double().expand(2, 7, 3)
        loss = LOSSES[order](truth + apart, truth, squared)
        assert loss.shape == (2, 7 - order, 3)
        if derivatives[order] is not None:
            expected = torch.full_like(loss, derivatives[order] ** (2 if squared else 1))
            torch.testing.assert_close(loss, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("loss", LOSSES.values())
def test_the_sign_does_not_matter_and_gradients_pull_to_the_truth(loss):
    truth = torch.zeros(1, 5, 2)
    predicted = torch.randn(1, 5, 2, generator=torch.Generator().manual_seed(1)).requires_grad_()
    torch.testing.assert_close(loss(predicted, truth), loss(-predicted, truth))
    (gradient,) = torch.autograd.grad(loss(predicted, truth).sum(), predicted)
    assert loss(predicted - 1e-3 * gradient, truth).sum() < loss(predicted, truth).sum()


def test_lips_are_measured_in_millimetres():
    truth = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    predicted = (truth + torch.tensor([3e-3, 0.0, -4e-3])).requires_grad_()
    distance = lip_distance(predicted, truth)
    torch.testing.assert_close(distance, torch.full((2, 4), 5.0), rtol=1e-3, atol=0)
    same = truth.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(lip_distance(same, truth).sum(), same)
    assert not gradient.any() and lip_distance(same, truth).detach().max() < 1e-4
