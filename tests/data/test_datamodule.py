"""Short fits are given fewer frames, so that each is visited."""

from talkingavatar.data.datamodule import thinned


def test_thinning_keeps_the_first_and_an_even_spacing():
    frames = list(range(400))
    left = thinned(frames, 120)
    assert left == frames[::4] and len(left) <= 120
    assert thinned(frames, 400) == frames
    assert thinned(frames[:5], 8) == frames[:5]
