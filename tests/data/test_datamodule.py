"""Short fits are given fewer frames, so that each is visited."""

import torch

from talkingavatar.config.compose import compose
from talkingavatar.data.datamodule import thinned
from talkingavatar.engine.experiment import build_data


def test_thinning_keeps_the_first_and_an_even_spacing():
    frames = list(range(400))
    left = thinned(frames, 120)
    assert left == frames[::4] and len(left) <= 120
    assert thinned(frames, 400) == frames
    assert thinned(frames[:5], 8) == frames[:5]


def test_a_step_may_have_a_background_of_its_own():
    config = compose(["debug=one_step", "tracking=none", "trainer.progress=false", "data.random_background=true"])
    data = build_data(config)
    (batch,) = data.train_dataloader()
    plain = data.batch([int(batch.signal.frame[0])])
    assert not torch.equal(batch.background, plain.background)
    outside, inside = plain.matte[..., 0] == 0, plain.matte[..., 0] == 1
    torch.testing.assert_close(batch.image[outside], batch.background.expand(int(outside.sum()), 3))
    torch.testing.assert_close(batch.image[inside], plain.image[inside])
