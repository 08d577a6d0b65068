"""Audio2Param's training: statistics, terms, the step, checkpoints, and a planted map learned to the end."""

from dataclasses import asdict, replace

import lightning as L
import pytest
import torch

from talkingavatar.audio.features import BANDS
from talkingavatar.audio.stream import LogMelStream
from talkingavatar.body.action_units import NAMES
from talkingavatar.body.lips import lips_of
from talkingavatar.body.models import load_body
from talkingavatar.body.pose_parts import PoseParts
from talkingavatar.config.compose import compose
from talkingavatar.config.family_options import Audio2Param as Options
from talkingavatar.config.schema import LossTermConfig
from talkingavatar.config.stages import seen_by
from talkingavatar.data.motion_batches import MotionData, Sequences
from talkingavatar.drivers.audio2param.driver import Audio2ParamDriver
from talkingavatar.drivers.audio2param.training import Audio2ParamTraining
from talkingavatar.drivers.driver import Heard, Prompt
from talkingavatar.drivers.rig_options import FIELD, read, shape_of
from talkingavatar.drivers.training import RenderTerm
from talkingavatar.engine.measuring.unit_scores import measure_units
from talkingavatar.errors import UserError
from talkingavatar.networks.audio2param import Audio2Param, Shape
from tests.planted_motion import planted_clip

SMALL = {
    "width": 16, "heads": 2, "encoder_layers": 1, "past": 3, "windows": 3, "length": 24, "dropout": 0.0, "grain": 0.0,
    "variation": 0.0, "identities": [], "smooth": 0.5,
    "least_r": 0.3, "own_share": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def head(cache):
    return load_body("open_flame")


@pytest.fixture(scope="module")
def clips(head):
    return [planted_clip(head, "first", 200, 0), planted_clip(head, "second", 150, 1)]


def configured(steps=6, terms=None, lr=3e-3, **options):
    steps = [f"stages.driver.steps={steps}", f"driver.paper_steps={steps}"]
    config = seen_by(compose(["experiment=audio2param", "tracking=none", *steps]), "driver")
    driver = replace(config.driver, options=config.driver.options | SMALL | options)
    driver.schedule["network"].lr, driver.schedule["network"].lr_end = lr, lr / 10
    if terms is not None:
        driver = replace(driver, terms={name: LossTermConfig(*row) for name, row in terms.items()})
    return replace(config, driver=driver)


def training(head, clips, render=None, **changes):
    return Audio2ParamTraining(configured(**changes), head, clips, render)


def batches(made, clips, seed=0):
    options = made.options
    sequences = Sequences(options.windows, options.length, (), None, options.grain)
    return MotionData(clips, sequences, seed, made.config.budget.steps)


def fit(made, data, file=None, stop=None):
    """Steps as the run's trainer makes them; weights after the last one."""
    trainer = L.Trainer(
        accelerator="cpu", max_steps=stop or made.config.budget.steps, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(made, datamodule=data, ckpt_path=file, weights_only=file is not None)
    return trainer


def test_parameters_are_told_in_deviations_of_what_is_trained_on(head, clips):
    made = training(head, clips)
    rows = [made.space.rig.parts.read(clip.pose)[: clip.train[0][1]] for clip in clips]
    mean = torch.stack([row.mean(0) for row in rows]).mean(0)
    torch.testing.assert_close(made.standard.mean, mean)
    pooled = torch.stack([(row - mean).square().mean(0) for row in rows]).mean(0).sqrt()
    floors = torch.cat([pooled[:3].max().expand(3), pooled[3:].max().expand(len(mean) - 3)]) * made.options.least_std
    torch.testing.assert_close(made.standard.std, torch.maximum(pooled, floors))
    values = made.space.rig.parts.read(clips[0].pose)
    torch.testing.assert_close(made.standard.back(made.standard(values)), values)


def test_what_sound_does_not_tell_is_not_trained(head, clips):
    made = training(head, clips)
    half = len(made.space.rig.parts) // 2
    assert (made.standard.audible[:half] > 0).all() and not made.standard.audible[half:].any()
    assert float(made.standard.audible.mean()) == pytest.approx(1)
    assert torch.equal(training(head, clips, least_r=0.0).standard.audible, torch.ones(len(made.space.rig.parts)))
    gain = made.standard.gain
    assert not gain[half:].any() and (gain[:half] >= 1).all() and (gain[:half] < 1.5).all()
    assert torch.equal(training(head, clips, most_gain=1.0).standard.gain, (made.standard.audible > 0).float())
    assert (training(head, clips, least_r=0.0).standard.gain[half:] == 2).all()
    fit(made, batches(made, clips))
    assert made.network.out.weight[:half].abs().min(1).values.max() > 0 and not made.network.out.weight[half:].any()


def test_every_term_is_unreduced_and_nothing_at_the_truth(head, clips):
    terms = dict.fromkeys(("params", "velocity", "acceleration", "lips"), (1.0,))
    made = training(head, clips, terms=terms, smooth=0.0, least_r=0.0)
    batch = batches(made, clips).batch(0)
    losses = made.terms(batch)
    count = len(made.space.rig.parts)
    shapes = {"params": (3, 24, count), "velocity": (3, 23, count), "acceleration": (3, 22, count)}
    assert {name: tuple(loss.shape) for name, loss in losses.items()} == shapes | {"lips": (72, len(lips_of(head)))}
    truth = made.standard(made.space.rig.parts.read(batch.pose)).unflatten(0, (3, -1))
    made.network.forward = lambda features, speaker, truth: truth
    assert {name: float(loss.detach().max()) for name, loss in made.terms(batch).items()} == pytest.approx(
        dict.fromkeys(losses, 0.0), abs=1e-3
    )
    torch.testing.assert_close(losses["params"], truth.square())  # it starts at the mean


def test_terms_without_weight_and_before_their_start_are_not_made(head, clips):
    made = training(head, clips, terms={"params": (1.0,), "lips": (0.0,), "velocity": (1.0, 5)})
    batch = batches(made, clips).batch(0)
    assert set(made.terms(batch)) == {"params"}
    made.step = 5
    assert set(made.terms(batch)) == {"params", "velocity"}


def test_what_is_drawn_joins_with_the_foretold_parts_of_one_frame(head, clips):
    seen = []

    def loss(pose, frame):
        seen.append((pose, frame))
        return pose.full_pose[:, head.joint_names.index("jaw")].abs()

    made = training(head, clips, RenderTerm(loss, [10, 50, 90]), terms={"params": (1.0,), "render": (1.0, 2)}, steps=8)
    fit(made, batches(made, clips))
    assert len(seen) == 6 and {frame for _, frame in seen} == {10, 50, 90}
    pose, frame = seen[-1]
    own = clips[0].pose[frame : frame + 1]
    assert len(pose) == 1 and torch.equal(pose.full_pose[:, 0], own.full_pose[:, 0])
    assert made.network.out.weight.detach().abs().max() > 0
    assert not made.network.out.weight[made.standard.audible == 0].any()
    made.eval()
    with torch.no_grad():
        whole = made.network(clips[0].features[None], torch.zeros(1, dtype=torch.long))[0]
        made.terms(batches(made, clips).batch(0))
    pose, frame = seen[-1]
    foretold = made.standard.back(whole[frame : frame + 1])
    foretold = torch.where(
        made.standard.audible > 0, foretold, made.space.rig.parts.read(clips[0].pose[frame : frame + 1])
    )
    torch.testing.assert_close(made.space.rig.parts.read(pose), foretold, atol=1e-5, rtol=1e-4)


def test_the_network_alone_may_work_in_bfloat16(head, clips):
    made = training(head, clips)
    torch.nn.init.normal_(made.network.out.weight, std=0.1)
    made.eval()
    data = batches(made, clips).batch(0)
    losses = []
    for made.config.trainer.precision in ("32", "bf16"):
        losses.append({name: float(values.detach().mean()) for name, values in made.terms(data).items()})
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.05)


def test_two_processes_share_a_step(head, clips):
    """The mean of their gradients, which data-parallel training makes, is that of the whole."""
    made = training(head, clips)
    torch.nn.init.normal_(made.network.out.weight, std=0.1)
    data = MotionData(clips, Sequences(4, 24, (), None, 0.1), 0, 9)
    gradients = []
    for batch in (data.batch(3), data.batch(3, 0, 2), data.batch(3, 1, 2)):
        made.network.zero_grad()
        made.training_step(batch, 0).backward()
        gradients.append([parameter.grad.clone() for parameter in made.network.parameters()])
    for one, first, second in zip(*gradients, strict=True):
        torch.testing.assert_close((first + second) / 2, one, atol=1e-6, rtol=1e-4)


def test_a_run_that_was_stopped_equals_one_that_was_not(head, clips, tmp_path):
    through = training(head, clips, dropout=0.3, grain=0.5)
    fit(through, batches(through, clips))
    stopped = training(head, clips, dropout=0.3, grain=0.5)
    fit(stopped, batches(stopped, clips), stop=3).save_checkpoint(tmp_path / "driver.ckpt")
    content = torch.load(tmp_path / "driver.ckpt", weights_only=True)
    assert content["driver"]["speakers"] == ["first", "second"] and content["driver"]["names"] == through.space.names
    again = training(head, clips, dropout=0.3, grain=0.5)
    data = batches(again, clips)
    fit(again, data, tmp_path / "driver.ckpt")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), through.parameters(), strict=True))
    assert not torch.equal(stopped.network.out.weight, through.network.out.weight)


@pytest.fixture(scope="module")
def checkpoint(head, clips):
    made = training(head, clips)
    content = {"state_dict": made.state_dict()}
    made.on_save_checkpoint(content)
    torch.nn.init.normal_(content["state_dict"]["network.style.weight"])
    return content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"driver": "ridge"}, "driver.name: found 'audio2param'; expected ridge"),
        ({"body": "flame", "checksum": "f" * 64}, "flame .ffffffffffff., which the driver"),
        ({"targets": ["jaw"]}, "driver: targets"),
        ({"speakers": ["other"]}, "driver: speakers"),
        ({"features": "wav2vec2"}, "driver: features"),
        ({"fps": 30.0}, "driver: fps"),
    ],
)
def test_a_checkpoint_for_something_else_is_refused(head, clips, checkpoint, change, message):
    made = training(head, clips)
    made.on_load_checkpoint(checkpoint)
    with pytest.raises(UserError, match=message):
        made.on_load_checkpoint(checkpoint | {"driver": checkpoint["driver"] | change})
    with pytest.raises(UserError, match="a checkpoint of something else"):
        made.on_load_checkpoint({"state_dict": {}})


def test_another_shape_is_named(head, clips, checkpoint):
    with pytest.raises(UserError, match=r"driver.options.past: found 5; expected 3"):
        training(head, clips, past=5).on_load_checkpoint(checkpoint)


def test_a_new_speaker_begins_with_the_mean_of_the_known_styles(head, clips, checkpoint):
    new = planted_clip(head, "new", 100, 5)
    made = training(head, [new, clips[1]])
    made.adopt(checkpoint)
    styles = checkpoint["state_dict"]["network.style.weight"]
    torch.testing.assert_close(made.network.style.weight, torch.stack([styles.mean(0), styles[1]]))
    assert torch.equal(made.standard.mean, checkpoint["state_dict"]["standard.mean"])
    assert torch.equal(made.standard.audible, checkpoint["state_dict"]["standard.audible"])
    with pytest.raises(UserError, match="targets"):
        training(head, [new], targets=["jaw"]).adopt(checkpoint)


@pytest.mark.parametrize("feedback", ["none", "teacher"])
def test_a_small_driver_learns_a_planted_map(head, feedback):
    clips = [planted_clip(head, "first", 300, 0), planted_clip(head, "second", 300, 1)]
    made = training(head, clips, steps=160, lr=1e-2, width=32, windows=6, smooth=0.0, feedback=feedback)
    fit(made, batches(made, clips))
    made.eval()
    with torch.no_grad():
        foretold = made.network(clips[0].features[None], torch.zeros(1, dtype=torch.long))[0]
    truth, audible = made.standard(made.space.rig.parts.read(clips[0].pose)), made.standard.audible > 0
    held = slice(*clips[0].test[0])
    error = (foretold - truth)[held][:, audible].square().mean() / truth[held][:, audible].var(0).mean()
    assert float(error) < 0.25 and not foretold[:, ~audible].any()


def test_action_units_are_foretold_as_parts_of_a_pose_are(head, clips, tmp_path):
    """Planted so that sound tells them; no lips, no pictures, and never beyond their scale."""
    told = [replace(clip, units=(2.5 + 20 * made_units(head, clip)).clamp(0, 5)) for clip in clips]
    made = training(head, told, targets=["units"], steps=120, lr=1e-2, width=32, windows=6, smooth=0.0, squared=False)
    assert made.skipped["driver/loss/lips"] == "action units move no lips" and "driver/loss/render" in made.skipped
    fit(made, batches(made, told), stop=60).save_checkpoint(tmp_path / "units.ckpt")
    again = training(head, told, targets=["units"], steps=120, lr=1e-2, width=32, windows=6, smooth=0.0, squared=False)
    fit(again, batches(again, told), tmp_path / "units.ckpt")
    assert again.card.targets == ["units"] and again.card.names == list(NAMES)
    driver = Audio2ParamDriver.load({"driver": asdict(again.card), "state_dict": again.state_dict()}, head)
    clip = told[0]
    scores = measure_units(clip, driver)
    assert scores.r > 0.8 and scores.of["foretold"]["mae"] < 0.6 * scores.of["held"]["mae"]
    assert scores.metrics("units").keys() >= {"units/r", "units/mae", "units/held/mae"} and len(scores.rows()) == 2
    loud = Heard(clip.fps, clip.samples, 100 * clip.features)
    units = driver.sample(loud, Prompt(), 0)[0]
    assert float(units.min()) == 0 and float(units.max()) == 5
    signal = driver.foretell(clip.signal, loud)
    assert torch.equal(signal.actions, units) and signal.pose is clip.pose
    with pytest.raises(UserError, match="jaw, units; expected units alone"):
        training(head, told, targets=["jaw", "units"])


def made_units(head, clip):
    values = PoseParts(head, ("jaw", "mouth")).read(clip.pose)
    return values[:, :13].repeat(1, 2)[:, :17]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targts": ["jaw"]}, "did you mean targets"),
        ({"width": "wide"}, "a int"),
        ({"width": 100, "heads": 8}, "100 for 8 heads"),
        ({"windows": 0}, "1 to 4096"),
        ({"dropout": 1.0}, "0 to 0.9"),
        ({"own_share": 2.0}, "0 to 1"),
        ({"feedback": "always"}, "none, teacher, free"),
        ({"smooth": -1.0}, "0 to 1000"),
        ({"most_gain": 0.5}, "1 to 1000"),
    ],
)
def test_a_mistake_in_the_options_is_named(options, message):
    config = configured(**options)
    with pytest.raises(UserError, match=message) as error:
        read(Options(), config)
    assert FIELD in str(error.value)


def test_a_mistake_in_targets_terms_and_schedule_is_named(head, clips):
    with pytest.raises(UserError, match="did you mean jaw"):
        training(head, clips, targets=["jwa"])
    with pytest.raises(UserError, match=r"driver\.terms\.lip.*velocity"):
        training(head, clips, terms={"lip": (1.0,)})
    with pytest.raises(UserError, match="none that counts from the first step"):
        training(head, clips, terms={"params": (1.0, 3), "lips": (0.0,), "render": (1.0,)})
    config = configured()
    for schedule, message in (({}, "one row, network"), ({"network": {"lr": -1.0}}, "positive")):
        rows = {name: replace(config.driver.schedule["network"], **row) for name, row in schedule.items()}
        with pytest.raises(UserError, match=message):
            Audio2ParamTraining(replace(config, driver=replace(config.driver, schedule=rows)), head, clips)


def test_a_loss_that_is_no_number_stops(head, clips):
    made = training(head, clips)
    batch = batches(made, clips).batch(0)
    with pytest.raises(RuntimeError, match="loss"):
        made.training_step(batch._replace(features=batch.features * torch.nan), 0)


def test_the_live_preset_waits_for_a_frame_beside_its_features():
    """experiments/live: 202 ms; all else is as it was."""
    configs = [compose(["experiment=audio2param", f"driver={name}"]) for name in ("live", "audio2param")]
    live, whole = (read(Options(), config) for config in configs)
    assert replace(live, look=whole.look, align=whole.align, smooth=whole.smooth) == whole
    ahead = [Audio2Param(shape_of(Shape, options, BANDS, 3, 1)).ahead for options in (live, whole)]
    assert ahead == [1, 6]
    assert ahead[0] / 25 + LogMelStream(25).lookahead == pytest.approx(0.2025)
