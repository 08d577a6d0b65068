import dataclasses

import numpy as np
import pytest
import torch

from talkingavatar.config.compose import compose
from talkingavatar.config.stages import seen_by
from talkingavatar.data.sync_batches import MIDDLE, SyncBatch
from talkingavatar.errors import UserError
from talkingavatar.losses import anchored, sync_contrast
from talkingavatar.losses.contrast import ELSEWHERE
from talkingavatar.metrics.lipsync.scores import shift_accuracy
from talkingavatar.pretrained.syncnet import UNRELATED, SyncNetTraining, accuracy, calibrated, distances, unrelated

QUIET = ["experiment=syncnet", "tracking=none"]


def configured(*overrides):
    """As the stage sees it."""
    return seen_by(compose([*QUIET, *overrides]), "syncnet")


@pytest.fixture(scope="module")
def training():
    return SyncNetTraining(configured())


def apart(*clips):
    """Frames apart of windows that start at these frames, clip by clip."""
    start = torch.tensor([s for clip in clips for s in clip])
    number = torch.tensor([i for i, clip in enumerate(clips) for _ in clip])
    return torch.where(number[:, None] == number, start[:, None] - start, ELSEWHERE)


def batch(places=((0, 5), (3, 9)), side=107, seed=0):
    draw = torch.Generator().manual_seed(seed)
    count = sum(len(place) for place in places)
    lips = 255 * torch.rand(count, 3, 5, side, side, generator=draw)
    sound, mouth = (torch.randn(count, *shape, generator=draw) for shape in ((1, 13, 20), (20,)))
    return SyncBatch(lips, sound, mouth, apart(*places))


def test_contrast_of_equal_distances_is_the_logarithm_of_the_choices():
    loss = sync_contrast(torch.full((5, 5), 7.0), apart((0, 10, 20), (5, 50)))
    torch.testing.assert_close(loss, torch.tensor([3.0, 3, 3, 2, 2] * 2).log())


def test_contrast_falls_to_nothing_where_only_the_pairs_are_near():
    far = 50 * (1 - torch.eye(4))
    assert sync_contrast(far, apart((0, 10, 5, 50))).max() < 1e-6
    assert sync_contrast(50 - far, apart((0, 10, 5, 50))).min() > 49


@pytest.mark.parametrize("frames", [((4, 5, 80),), ((4, 80), (5,))])
def test_neighbours_and_other_clips_are_no_negatives(frames):
    """Window 0 is nearest to the sound of window 1 or 2, whichever must not count."""
    beside = 1 if len(frames) == 1 else 2
    between = torch.tensor([[1.0, 30, 30], [30, 1, 30], [30, 30, 1]])
    between[0, beside] = 0
    between.requires_grad_()
    loss = sync_contrast(between, apart(*frames))
    assert loss.max() < 1e-6
    loss.sum().backward()
    assert between.grad is not None and between.grad.isfinite().all() and between.grad[0, beside] == 0
    assert sync_contrast(between, apart((4, 6, 80)))[0] > 1


def test_an_anchor_is_nothing_at_the_shape_and_one_at_the_mean():
    basis = 2 * torch.linalg.qr(torch.randn(64, 20)).Q.T
    shape = torch.randn(500, 20, generator=torch.Generator().manual_seed(0))
    assert anchored(shape @ basis, shape, basis).max() < 1e-6
    assert float(anchored(torch.zeros(500, 64), shape, basis).mean()) == pytest.approx(1, abs=0.1)
    shape[3, 7] = torch.nan
    assert anchored(shape @ basis, shape, basis).shape == (499,)


def test_distances_of_anchored_embeddings_are_those_of_the_mouths(training):
    a, b = torch.randn(2, 3, 20, generator=torch.Generator().manual_seed(0)).unbind()
    apart = distances(a @ training.basis, b @ training.basis)
    torch.testing.assert_close(apart, 2 * torch.cdist(a, b), rtol=1e-3, atol=1e-3)


def test_mouths_that_are_not_known_train_by_contrast_alone(training):
    given = batch()
    training.training_step(given._replace(mouth=given.mouth * torch.nan), 0)
    assert training.scalars.read()["loss/total"] == pytest.approx(training.scalars.read()["loss/contrast"])
    training.training_step(given, 0)
    assert training.scalars.read()["loss/total"] > training.scalars.read()["loss/contrast"]


def test_what_stands_still_is_not_seen():
    training = SyncNetTraining(configured())
    given = batch(side=107)
    still = given._replace(lips=given.lips[:, :, :1].expand(-1, -1, 5, -1, -1))
    optimiser = training.configure_optimizers()

    def closure():
        training.training_step(given, 0).backward()

    for _ in range(2):
        training.eval()
        with torch.no_grad():
            (faces, _), (moving, _) = training.embed(still), training.embed(given)
        assert faces.std(0).max() < 1e-3 * moving.std(0).max()
        training.train()
        training.optimizer_step(0, 0, optimiser, closure)


def test_the_middle_alone_gives_what_whole_crops_give():
    """Prepared as it is and after a step: the file is read with whole crops, of which nothing else may count."""
    training = SyncNetTraining(configured())
    whole = batch(side=224)
    middle = whole._replace(lips=whole.lips[..., slice(*MIDDLE), slice(*MIDDLE)])
    optimiser = training.configure_optimizers()
    for _ in range(2):
        training.eval()
        with torch.no_grad():
            alone, _ = training.embed(middle)
            torch.testing.assert_close(alone, training.network.forward_lip(whole.lips), rtol=1e-4, atol=1e-4)
        training.train()
        training.training_step(middle, 0).backward()
        optimiser.step()
    for place, cells in ((8, 1 / 9), (14, 1 / 9), (18, 4 / 36)):
        kernel = training.network.netcnnlip[place].weight.detach()
        assert (kernel != 0).float().mean() == pytest.approx(cells, abs=1e-6)
    assert alone.std(0).mean() > 1e-3


def test_the_start_is_as_strong_as_torch_s_own(training):
    last = SyncNetTraining(configured()).network.netcnnlip[18].weight.detach()
    assert last[..., 2:4, 2:4].std() == pytest.approx(1 / (3 * 256 * 4) ** 0.5, rel=0.05)


def test_distances_come_into_the_unit_of_the_published_ones(training):
    given = batch(((0, 9, 20), (5, 17)))
    training.eval()
    with torch.no_grad():
        before = distances(*training.embed(given))
        state = calibrated(training.network.state_dict(), unrelated(before, given))
        scaled = SyncNetTraining(configured()).eval()
        scaled.network.load_state_dict(state)
        after = distances(*scaled.embed(given))
    training.train()
    torch.testing.assert_close(after / after[0, 0], before / before[0, 0], rtol=1e-4, atol=1e-4)
    assert unrelated(after, given) == pytest.approx(UNRELATED, rel=1e-4)
    here = [(i, j) for i, j in np.ndindex(5, 5) if i != j and (i < 3) == (j < 3)]
    assert unrelated(before, given) == pytest.approx(float(np.mean([before[i, j] for i, j in here])), rel=1e-5)


def test_networks_in_bfloat16_come_to_nearly_the_same():
    exact, coarse = (SyncNetTraining(compose([*QUIET, f"trainer.precision={name}"])).eval() for name in ("32", "bf16"))
    with torch.no_grad():
        pairs = list(zip(exact.embed(batch()), coarse.embed(batch()), strict=True))
    for a, b in pairs:
        assert a.dtype == b.dtype == torch.float32 and not torch.equal(a, b)
        assert (a - b).norm() < 0.05 * a.norm()


def test_a_step_lowers_the_loss_and_leaves_unseen_cells_alone():
    training = SyncNetTraining(configured())
    optimiser, given = training.configure_optimizers(), batch()
    losses = []
    for _ in range(8):
        loss = training.training_step(given, 0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] and training.scalars.read()["loss/total"] == losses[-1]
    last = training.network.netcnnlip[18].weight.detach()
    assert last[..., :2, :].abs().max() == 0 and last[..., 2:4, 2:4].abs().min(dim=0)[0].max() > 0


def test_accuracy_counts_a_frame_beside_as_right():
    given = batch(((0, 1, 7), (0, 9)))
    between = torch.full((5, 5), 5.0)
    between[0, 1] = between[1, 2] = between[2, 2] = between[4, 3] = 1  # a frame off, six off, right, nine off
    between[3, 3], between[3, 0] = 1, 0  # right: another clip's sound does not count
    assert float(accuracy(between, given)) == pytest.approx(0.6)


def test_shift_accuracy_of_planted_minima():
    distances = torch.full((71, 31), 9.0)
    distances[:, 3] = 8  # the positions that sound is not there for at every shift do not count
    distances[15:56, 16] = 1
    assert shift_accuracy(distances) == 1
    distances[15:35, 20] = 0
    assert shift_accuracy(distances) == pytest.approx(21 / 41)
    assert shift_accuracy(distances, frames=15) == pytest.approx(20 / 31, abs=0.04)
    assert shift_accuracy(distances[:30]) is None and shift_accuracy(distances[:40], frames=15) is None


def test_rates_come_when_the_budget_says(training):
    config = configured()
    assert training.steps == 600 == compose(QUIET).budget.steps // config.pretrained.step_cost
    row = config.pretrained.schedule["network"]
    assert training.schedule.rate(0) == row.lr and training.schedule.rate(training.steps) == pytest.approx(row.lr_end)


def test_the_seed_decides_the_start():
    a, b = (SyncNetTraining(configured("seed=1")).state_dict() for _ in range(2))
    assert all(torch.equal(a[key], b[key]) for key in a)
    other = SyncNetTraining(configured("seed=2")).network.netcnnaud[0].weight
    assert not torch.equal(a["network.netcnnaud.0.weight"], other)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("identitys", [0], "did you mean identities"),
        ("windows", 0, "expected 1 to"),
        ("windows", 40, "reach"),
        ("places", "many", "a int"),
        ("eased_share", 1.5, "expected 0 to 1"),
    ],
)
def test_a_mistake_in_the_options_is_named(option, value, message):
    config = configured()
    pretrained = dataclasses.replace(config.pretrained, options=config.pretrained.options | {option: value})
    with pytest.raises(UserError, match=message):
        SyncNetTraining(dataclasses.replace(config, pretrained=pretrained))


def test_a_schedule_of_other_groups_is_refused():
    config = configured()
    pretrained = dataclasses.replace(config.pretrained, schedule={})
    with pytest.raises(UserError, match="one row, network"):
        SyncNetTraining(dataclasses.replace(config, pretrained=pretrained))


def test_another_loss_table_is_refused():
    with pytest.raises(UserError, match=r"pretrained\.terms.*give all of them"):
        SyncNetTraining(configured("~pretrained.terms.mouth_lips"))


def test_a_loss_that_is_no_number_stops(training):
    given = batch()
    with pytest.raises(RuntimeError, match="loss"):
        training.training_step(given._replace(audio=given.audio * np.nan), 0)
