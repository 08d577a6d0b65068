"""What units change while none is strong."""

import torch

from talkingavatar.losses import unasked_change


def test_a_change_costs_its_size_less_what_the_strongest_unit_asks():
    changes = torch.tensor([0.5, -2.0, 0.0])
    shares = torch.zeros(17)
    torch.testing.assert_close(unasked_change(changes, shares), torch.tensor([0.5, 2.0, 0.0]))
    shares[3], shares[7] = 0.25, 0.75
    torch.testing.assert_close(unasked_change(changes, shares), torch.tensor([0.125, 0.5, 0.0]))
    shares[5] = 1.2  # beyond OpenFace's scale
    assert not unasked_change(changes, shares).any()
