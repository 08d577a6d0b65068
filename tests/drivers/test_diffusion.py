"""A driver that draws: its noise, its windows, its seeds, and a planted map learned to the end."""

from dataclasses import asdict, replace
from itertools import pairwise

import pytest
import torch

from talkingavatar.body.models import load_body
from talkingavatar.config.compose import compose
from talkingavatar.config.stages import seen_by
from talkingavatar.data.motion_batches import MotionData, Sequences
from talkingavatar.drivers.diffusion.driver import DiffusionDriver
from talkingavatar.drivers.diffusion.sampler import Guidance, MotionStream, scheduler
from talkingavatar.drivers.diffusion.training import DiffusionTraining
from talkingavatar.drivers.driver import Heard, Prompt
from talkingavatar.errors import UserError
from talkingavatar.networks.motion_denoiser import LEVELS, MotionDenoiser, Shape
from tests.drivers.test_audio2param import fit, one_thread  # noqa: F401
from tests.planted_motion import planted_clip

SMALL = {
    "width": 32, "heads": 2, "layers": 1, "windows": 8, "length": 24, "overlap": 4, "grain": 0.0, "variation": 0.0,
    "identities": [], "targets": ["jaw", "mouth"],
}  # fmt: skip


@pytest.fixture(scope="module")
def head(cache):
    return load_body("open_flame")


@pytest.fixture(scope="module")
def clips(head):
    return [planted_clip(head, "first", 300, 0), planted_clip(head, "second", 300, 1)]


def training(head, clips, steps=6, lr=5e-3, **options):
    given = ["driver=diffusion", f"stages.driver.steps={steps}", f"driver.paper_steps={steps}"]
    config = seen_by(compose(["experiment=audio2param", "tracking=none", *given]), "driver")
    driver = replace(config.driver, options=config.driver.options | SMALL | options)
    driver.schedule["network"].lr, driver.schedule["network"].lr_end = lr, lr / 10
    return DiffusionTraining(replace(config, driver=driver), head, clips)


def batches(made):
    options = made.options
    return MotionData(made.clips, Sequences(options.windows, options.length), 0, made.config.budget.steps)


def at_work(made, head):
    return DiffusionDriver.load({"driver": asdict(made.card), "state_dict": made.state_dict()}, head)


def heard_of(clip, frames=None):
    return Heard(clip.fps, clip.samples[: 640 * (frames or clip.frames)], clip.features[:frames])


def lively(**changes):
    """A network that answers to all it is told."""
    torch.manual_seed(0)
    network = MotionDenoiser(Shape(channels=4, outputs=3, width=16, heads=2, layers=1, length=12, overlap=3, **changes))
    torch.nn.init.normal_(network.out[1].weight, std=0.5)
    torch.nn.init.normal_(network.quiet)
    if network.shape.units:
        torch.nn.init.normal_(network.unprompted)
    return network.eval().requires_grad_(False)


def drawn(network, features, seeds, pieces=(), steps=4, guidance=1.5, units=None, further=1.0):
    """Units come later than the sound that they are of."""
    stream = MotionStream(network, torch.zeros(1, 16), seeds, steps, Guidance(guidance, further))
    ends = [0, *pieces, features.shape[1]]
    parts = [
        stream.push(features[:, a:b]) if units is None else stream.push(features[:, a:b], units[:, a // 2 : b // 2])
        for a, b in pairwise(ends)
    ]
    parts += [] if units is None else [stream.push(features[:, :0], units[:, features.shape[1] // 2 :])]
    return torch.cat([*parts, stream.finish()], 1)


def test_motion_that_is_known_is_what_noise_becomes():
    """Standardised motion goes beyond 1: a scheduler that clips it, as is usual of pictures, would flatten it."""
    motion, schedule = 3 * torch.randn(2, 5, 3), scheduler()
    schedule.set_timesteps(10)
    noisy = torch.randn(2, 5, 3)
    for level in schedule.timesteps:
        noisy = schedule.step(motion, level, noisy).prev_sample
    torch.testing.assert_close(noisy, motion)
    assert schedule.timesteps[0] == LEVELS - 1 and float(schedule.alphas_cumprod[-1]) < 1e-6


@pytest.mark.parametrize(("frames", "prompted"), [(2, False), (12, False), (13, True), (40, False), (40, True)])
def test_a_sound_in_pieces_gives_the_motion_of_the_whole(frames, prompted):
    network, features = lively(units=prompted), torch.randn(1, frames, 16, 4)
    units = 5 * torch.rand(1, frames, 17) if prompted else None
    whole = drawn(network, features, [0, 1], units=units)
    assert whole.shape == (2, frames, 3)
    for pieces in ((1, 2), tuple(range(1, frames)), (min(frames, 11),)):
        torch.testing.assert_close(drawn(network, features, [0, 1], pieces, units=units), whole)


def test_a_motion_is_of_its_seed_alone():
    network, features = lively(), torch.randn(1, 30, 16, 4)
    several, one = drawn(network, features, [5, 6, 7]), drawn(network, features, [6])
    torch.testing.assert_close(several[1:2], one)
    assert float((several[0] - several[1]).abs().min(1).values.max()) > 1e-3
    assert torch.equal(drawn(network, features, [6]), one)


def test_a_window_goes_on_from_the_one_before():
    """With frames known, what they are told to be is what they stay, and it tells on those after them."""
    network, features = lively(), torch.randn(1, 12, 16, 4)
    made = []
    for known in (0.0, 2.0):
        stream = MotionStream(network, torch.zeros(1, 16), [0], 4, Guidance())
        stream.known = torch.full((1, 3, 3), known)
        made.append(stream.push(features))
        assert made[-1].shape == (1, 9, 3) and torch.equal(stream.known, made[-1][:, -3:])
    assert float((made[0] - made[1]).abs().max()) > 1e-3


def test_guidance_leads_away_from_silence():
    network, features = lively(), torch.randn(1, 12, 16, 4)
    plain, twice = (drawn(network, features, [0], steps=1, guidance=g) for g in (1.0, 2.0))
    network.hear = lambda features: network.quiet.expand(1, features.shape[1], -1)
    without = drawn(network, features, [0], steps=1, guidance=1.0)
    torch.testing.assert_close(twice - plain, plain - without, atol=1e-5, rtol=1e-4)


def test_guidance_of_units_and_sound_adds_up():
    """From what neither tells to what sound does, and from there to what both do: each step as far as is asked."""
    network, features, units = lively(units=True), torch.randn(1, 12, 16, 4), 5 * torch.rand(1, 12, 17)

    def at(audio, further):
        return drawn(network, features, [0], steps=1, guidance=audio, units=units, further=further)

    both, sound, neither = at(1.0, 1.0), at(1.0, 0.0), at(0.0, 0.0)
    assert float((both - sound).abs().max()) > 1e-3 and float((sound - neither).abs().max()) > 1e-3
    expected = neither + 1.2 * (sound - neither) + 1.7 * (both - sound)
    torch.testing.assert_close(at(1.2, 1.7), expected, atol=1e-5, rtol=1e-4)


def test_units_tell_what_the_sound_does_not(head, clips):
    made = training(head, clips, steps=100, lr=1e-2, kind="gru", units=True)
    fit(made, batches(made))
    driver, (start, stop), clip = at_work(made, head), clips[0].test[0], clips[0]
    with pytest.raises(UserError, match=r"driver: found nothing before it; expected action units, .*targets=.units."):
        driver.sample(heard_of(clip), Prompt(), 0)
    truth, told = made.standard(made.space.rig.parts.read(clip.pose))[start:stop], len(made.space.names) // 2
    errors = []
    for units in (clip.units, clip.units.flip(0)):
        foretold = made.standard(driver.sample(replace(heard_of(clip), units=units), Prompt(), 0)[0])[start:stop]
        errors.append(float((foretold - truth)[:, told:].square().mean() / truth[:, told:].var(0).mean()))
    assert errors[0] < 0.4 and errors[1] > 1
    with pytest.raises(UserError, match="guidance: found unit; expected some of audio, units"):
        driver.sample(replace(heard_of(clip), units=clip.units), Prompt(guidance={"unit": 1.0}), 0)


@pytest.mark.parametrize("kind", ["ddim", "gru"])
def test_a_small_driver_learns_a_planted_map(head, clips, kind):
    made = training(head, clips, steps=150 if kind == "ddim" else 100, lr=1e-2, kind=kind)
    fit(made, batches(made))
    driver, (start, stop) = at_work(made, head), clips[0].test[0]
    samples = driver.sample(heard_of(clips[0]), Prompt(guidance={"audio": 1.0}), 0, 3)
    assert driver.draws == (kind == "ddim") and samples.shape == (3, 300, len(made.space.rig.parts))
    truth = made.standard(made.space.rig.parts.read(clips[0].pose))[start:stop]
    told = len(made.space.rig.parts) // 2
    foretold = made.standard(samples)[:, start:stop]
    error = (foretold.mean(0) - truth)[:, :told].square().mean() / truth[:, :told].var(0).mean()
    assert float(error) < 0.4
    if kind == "ddim":  # what sound does not tell is drawn, as wide as it was
        spread, wide = foretold.std(0).mean(0), foretold[:, :, told:].std(1).mean() / truth[:, told:].std(0).mean()
        assert float(spread[told:].mean()) > 3 * float(spread[:told].mean()) and 0.6 < float(wide) < 1.3
    else:
        assert torch.equal(samples[0], samples[2])


@pytest.mark.parametrize("units", [False, True])
def test_a_run_that_was_stopped_equals_one_that_was_not(head, clips, tmp_path, units):
    through, stopped, again = (training(head, clips, units=units) for _ in range(3))
    fit(through, batches(through))
    fit(stopped, batches(stopped), stop=3).save_checkpoint(tmp_path / "driver.ckpt")
    fit(again, batches(again), tmp_path / "driver.ckpt")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), through.parameters(), strict=True))
    assert not torch.equal(stopped.network.motion.weight, through.network.motion.weight)


def test_a_speech_is_foretold_as_it_comes(head, clips):
    """Of the sound's own features, which the stream makes; the planted ones are of no sound."""
    from talkingavatar.audio.features import audio_features

    made = training(head, clips)
    torch.nn.init.normal_(made.network.out[1].weight, std=0.1)
    driver, samples = at_work(made, head), clips[0].samples[: 640 * 60]
    features = torch.from_numpy(audio_features(samples, 16000, 25.0, 60, "logmel", None, "logits"))
    whole = driver.sample(Heard(25.0, samples, features), Prompt(), 0)[0]
    stream = driver.stream(Prompt())
    parts = [stream.push(samples[a : a + 3200]) for a in range(0, len(samples), 3200)]
    torch.testing.assert_close(torch.cat([*parts, stream.finish(60)]), whole, atol=1e-4, rtol=1e-4)
    seconds = next(number for number, part in enumerate(parts, 1) if len(part)) * 0.2
    assert driver.lookahead <= seconds + 0.2 < driver.lookahead + 0.4


def test_windows_that_overlap_whole_are_refused(head, clips):
    with pytest.raises(UserError, match=r"driver\.options\.overlap: found 24; expected fewer than the window's 24"):
        training(head, clips, overlap=24)


def test_components_measure_how_far_the_face_moves(head, clips):
    """Distances between components are the vertices'; eyes and head keep numbers of their own."""
    made = training(head, clips, variable="vertices", targets=["jaw", "mouth", "head"], least_std=0.0)
    parts, standard = made.space.rig.parts, made.standard
    rows = parts.read(clips[0].pose)[:40]
    turned = standard.components(rows)
    torch.testing.assert_close(standard.restored(turned), rows, atol=1e-4, rtol=1e-3)
    kept = 3 * (len(parts.joints) - 1)
    torch.testing.assert_close(turned[:, -kept:], rows[:, 3 : 3 + kept])
    face = head.expressiondirs.flatten(1).any(1).nonzero()[:, 0]
    columns = rows.clone()
    columns[:, : 3 * len(parts.joints)] = 0  # expressions alone are linear
    moved = head(parts.write(head.zero_pose(40), columns), face)[0]
    apart = (moved[1:] - moved[:-1]).square().sum(-1).mean(-1).sqrt()
    torch.testing.assert_close(standard.components(columns).diff(dim=0).norm(dim=1), apart, atol=1e-6, rtol=1e-3)
    train = torch.cat([standard.components(parts.read(clip.pose[a:b])) for clip in clips for a, b in clip.train])
    assert (train[:, :-kept].var(0).diff() <= 1e-9).all()  # the widest first
    driver = at_work(made, head)
    torch.testing.assert_close(driver.values(standard(rows)), rows, atol=1e-4, rtol=1e-3)
    assert driver.scale.shape == (len(parts),) and (driver.scale > 0).all()
    plain = training(head, clips, targets=["jaw", "mouth", "head"])
    with pytest.raises(UserError, match="driver: variable: found expression; expected vertices, which the driver's"):
        plain.adopt({"driver": asdict(made.card), "state_dict": made.state_dict()})
    with pytest.raises(UserError, match=r"driver.options.variable: found vertices, of AU01"):
        training(head, clips, variable="vertices", targets=["units"])
