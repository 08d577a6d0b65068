"""Audio2Param: what an output depends on, and the same outputs however the features come."""

import dataclasses

import pytest
import torch

from talkingavatar.networks.audio2param import FEEDBACK, Audio2Param, Shape, smoothing_kernel
from talkingavatar.networks.audio2param_stream import FeatureStream

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPE = Shape(
    channels=6, outputs=5, speakers=2, width=16, heads=2, encoder_layers=2, decoder_layers=2, past=3, look=1, align=1
)


@pytest.fixture(scope="module")
def one_thread():
    """These tensors are too small to share out: threads wait for each other where others use the machine, too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(**changes) -> Audio2Param:
    """With an output layer that is not zero, as after some training."""
    torch.manual_seed(0)
    made = Audio2Param(dataclasses.replace(SHAPE, **changes)).eval()
    torch.nn.init.normal_(made.out.weight, std=0.5)
    return made


def sound(frames, batch=1, seed=0):
    return torch.randn(batch, frames, 16, SHAPE.channels, generator=torch.Generator().manual_seed(seed))


def speaker(batch=1):
    return torch.arange(batch) % 2


def test_it_starts_at_the_mean():
    torch.manual_seed(0)
    made = Audio2Param(SHAPE)
    assert not made(sound(9, 2), speaker(2)).any()
    made(sound(9, 2), speaker(2)).sum().backward()
    assert made.out.bias.grad.abs().min() > 0


@pytest.mark.parametrize("feedback", FEEDBACK)
@pytest.mark.parametrize("smooth", [0.0, 1.3])
@pytest.mark.parametrize("longest", [1, 4, 30])
def test_any_chunks_give_the_outputs_of_the_whole(feedback, smooth, longest):
    made, features = network(feedback=feedback, smooth=smooth), sound(61, 2)
    with torch.no_grad():
        whole = made(features, speaker(2))
    stream, draw = FeatureStream(made, made.style_of(speaker(2))), torch.Generator().manual_seed(longest)
    parts, at = [], 0
    while at < 61:
        count = int(torch.randint(0 if longest > 1 else 1, longest + 1, (1,), generator=draw))
        parts.append(stream.push(features[:, at : at + count]))
        at = min(61, at + count)
        assert stream.frames == max(0, at - made.ahead)
    parts.append(stream.finish())
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("frames", [0, 1, 2, 3])
@pytest.mark.parametrize("feedback", FEEDBACK)
def test_sequences_shorter_than_the_look_ahead(frames, feedback):
    made = network(feedback=feedback)
    stream = FeatureStream(made, made.style_of(speaker()))
    parts = [stream.push(sound(frames)), stream.finish()]
    assert [part.shape[1] for part in parts] == [0, frames]
    with torch.no_grad():
        torch.testing.assert_close(parts[1], made(sound(frames), speaker()))


def test_little_is_kept_of_a_long_sequence():
    made = network()
    stream = FeatureStream(made, made.style_of(speaker()))
    for _ in range(40):
        stream.push(sound(10))
    kept = [tail.frames.shape[1] for tail in (*stream.tails, stream.raw, *stream.decoding.tails)]
    assert stream.frames == 400 - made.ahead and max(kept) <= 2 * made.past


@pytest.mark.parametrize("changes", [{}, {"encoder_layers": 3, "look": 2}, {"smooth": 0.0, "align": 0, "look": 0}])
def test_an_output_depends_on_past_and_ahead_and_no_further(changes):
    made, features, at = network(**changes), sound(80).requires_grad_(), 40
    (gradient,) = torch.autograd.grad(made(features, speaker())[0, at].sum(), features)
    reached = gradient[0].abs().sum((1, 2)).nonzero()[:, 0]
    assert reached.min() == at - made.past and reached.max() == at + made.ahead


@pytest.mark.parametrize("feedback", ["teacher", "free"])
def test_with_feedback_what_is_to_come_does_not_matter_but_all_that_was_does(feedback):
    made, features, at = network(feedback=feedback), sound(60).requires_grad_(), 40
    (gradient,) = torch.autograd.grad(made(features, speaker())[0, at].sum(), features)
    reached = gradient[0].abs().sum((1, 2)).nonzero()[:, 0]
    assert reached.max() == at + made.ahead and reached.min() < at - made.past


def test_where_in_a_file_something_is_heard_does_not_matter():
    made, features = network(), sound(70)
    with torch.no_grad():
        whole, later = made(features, speaker()), made(features[:, 23:], speaker())
    torch.testing.assert_close(later[:, made.past :], whole[:, 23 + made.past :], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(later[:, 0], whole[:, 23])


def test_speakers_differ_by_their_style_alone():
    made, features = network(), sound(12)
    with torch.no_grad():
        first, second = (made(features, torch.tensor([number])) for number in (0, 1))
        given = made(features, made.style.weight[1:])
    assert torch.equal(given, second) and not torch.allclose(first, second)


def test_teacher_forcing_hears_the_truth_of_the_frames_before_while_it_is_trained():
    made, features, truth = network(feedback="teacher", smooth=0.0), sound(20), torch.randn(1, 20, 5)
    own = made(features, speaker(), truth)
    torch.testing.assert_close(own, made(features, speaker()))
    made.train()
    forced = truth.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(made(features, speaker(), forced)[0, 10].sum(), forced)
    reached = gradient[0].abs().sum(1).nonzero()[:, 0]
    assert reached.max() == 9 and reached.min() == 9 - 2 * SHAPE.past
    by_own = made(features, speaker(), own)
    torch.testing.assert_close(by_own, own, rtol=1e-4, atol=1e-5)  # its own outputs fed back are its own outputs


def test_free_running_trains_through_what_was_fed_back():
    made = network(feedback="free").train()
    made(sound(12), speaker())[0, 11].sum().backward()
    assert made.fed_back.weight.grad.abs().max() > 0


@pytest.mark.parametrize("sigma", [0.0, 0.4, 1.0, 3.0])
def test_smoothing_is_a_mean_of_what_is_there(sigma):
    kernel = smoothing_kernel(sigma)
    assert float(kernel.sum()) == pytest.approx(1) and torch.equal(kernel, kernel.flip(0))
    made = network(smooth=sigma)
    level = torch.full((1, 20, 5), 3.0)
    torch.testing.assert_close(made.smoothed(level, 0, 20), level)
    impulse = torch.zeros(1, 61, 5)
    impulse[:, 30] = 1
    torch.testing.assert_close(made.smoothed(impulse, 0, 61)[0, 30 - made.radius : 31 + made.radius, 0], kernel)


def test_smoothing_makes_any_output_steadier():
    """The fourth difference of white noise falls as the kernel's own response says, whatever the network."""
    noise = torch.randn(1, 4000, 5, generator=torch.Generator().manual_seed(0))
    made = network(smooth=1.0)
    fourth = torch.tensor([1.0, -4, 6, -4, 1])
    expected = torch.nn.functional.conv1d(made.kernel[None, None], fourth[None, None], padding=4).norm() / fourth.norm()
    smooth = made.smoothed(noise, 0, 4000)
    ratio = torch.diff(smooth, n=4, dim=1).std() / torch.diff(noise, n=4, dim=1).std()
    assert float(ratio) == pytest.approx(float(expected), rel=0.05) and ratio < 0.1


def test_a_planted_map_is_learned():
    """Parameters that are linear in the middle of each window, with a change of sign for the second speaker."""
    torch.manual_seed(0)
    made = Audio2Param(dataclasses.replace(SHAPE, width=32, encoder_layers=1, decoder_layers=1, smooth=0.5))
    features = sound(40, 16, seed=1)
    features = features.cumsum(2) / 4
    who = speaker(16)
    truth = features[:, :, 8] @ torch.randn(6, 5) * torch.where(who == 0, 1.0, -1.0)[:, None, None]
    truth = made.smoothed(truth / truth.std(), 0, 40)
    optimiser = torch.optim.AdamW(made.parameters(), lr=5e-3)
    for _ in range(250):
        loss = (made(features, who) - truth).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.1 * float(truth.var())
