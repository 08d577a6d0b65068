from collections import Counter

import numpy as np
import pytest
import torch

from talkingavatar.data.capture import paper_split
from talkingavatar.data.face_balance import shares_by_face
from talkingavatar.data.motion_batches import MotionBatch
from talkingavatar.data.sampler import StepLoader, background_of_step, frames_of_step
from talkingavatar.types import BodyPose, DrivingSignal

FRAMES = list(range(0, 80, 4))


def test_a_step_depends_on_seed_and_step_alone():
    later = [frames_of_step(FRAMES, 3, step) for step in range(30, 50)]
    everything = [frames_of_step(FRAMES, 3, step) for step in range(50)]
    assert everything[30:] == later
    assert everything != [frames_of_step(FRAMES, 4, step) for step in range(50)]


def test_every_frame_is_seen_once_an_epoch():
    seen = Counter(f for step in range(3 * len(FRAMES)) for f in frames_of_step(FRAMES, 0, step))
    assert set(seen.values()) == {3} and set(seen) == set(FRAMES)


def test_loader_continues_from_its_state():
    whole = list(StepLoader(lambda step: step * step, 10))
    loader = StepLoader(lambda step: step * step, 10)
    first = [item for item, _ in zip(loader, range(4), strict=False)]
    state = loader.state_dict()
    other = StepLoader(lambda step: step * step, 10)
    other.load_state_dict({"next_step": 4})
    assert first + list(other) == whole
    assert state["next_step"] == 5  # zip drew one more before it stopped


def test_what_a_gpu_will_read_is_pinned_whatever_it_lies_in(monkeypatch):
    pinned: list[torch.Tensor] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor.clone()) or pinned[-1])
    pose = BodyPose(torch.zeros(2, 1), torch.zeros(2, 2), torch.zeros(2, 3, 3), torch.zeros(2, 3))
    signal = DrivingSignal(torch.zeros(2, dtype=torch.long), pose, actions=torch.zeros(2, 17))
    item = MotionBatch(torch.zeros(1, 2, 16, 4), signal, torch.zeros(1, dtype=torch.long))
    (plain,) = StepLoader(lambda step: item, 1)
    assert plain is item and not pinned
    (sent,) = StepLoader(lambda step: item, 1, pin=True)
    leaves = [sent.features, sent.signal.frame, *vars(sent.pose).values(), sent.signal.actions, sent.speaker]
    assert {id(leaf) for leaf in leaves} == {id(tensor) for tensor in pinned} and len(pinned) == 8
    assert torch.equal(sent.pose.full_pose, pose.full_pose)


def test_split_of_the_paper():
    train, test = paper_split(600, 0.2, 4)
    assert list(range(*train))[:3] == [0, 4, 8] and max(range(*train)) < 480
    assert list(range(*test)) == list(range(480, 600))


def test_backgrounds_depend_on_seed_and_step_alone():
    first = background_of_step(0, 7)
    assert torch.equal(first, background_of_step(0, 7)) and ((first >= 0) & (first <= 1)).all()
    assert not torch.equal(first, background_of_step(0, 8)) and not torch.equal(first, background_of_step(1, 7))


def test_shares_are_kept_in_every_round_of_draws():
    shares = np.array([0.5, 0.25, 0.125, 0.125])
    for start in (0, 4):
        drawn = [frames_of_step([3, 5, 7, 9], 1, step, shares=shares) for step in range(start, start + 4)]
        seen = Counter(frame for frames in drawn for frame in frames)
        assert seen[3] == 2 and seen[5] == 1 and seen[7] + seen[9] == 1
    assert frames_of_step([3, 5, 7, 9], 1, 5, shares=shares) == frames_of_step([3, 5, 7, 9], 1, 5, shares=shares)


def test_shares_that_ask_for_parts_of_a_draw_are_kept_over_many():
    shares = np.array([0.6, 0.3, 0.1])
    seen = Counter(f for step in range(3000) for f in frames_of_step([0, 1, 2], 0, step, shares=shares))
    assert [seen[i] / 3000 for i in range(3)] == pytest.approx(shares.tolist(), abs=0.02)


def test_of_one_who_talks_open_mouths_are_drawn_oftener():
    jaw = np.random.default_rng(0).gamma(1.0, 0.05, 400)  # mostly all but shut
    shares = shares_by_face(np.stack([3 * jaw, np.zeros(400)], 1), 0.5)
    wide = jaw > np.quantile(jaw, 0.95)
    assert shares[wide].sum() > 2 * wide.mean() and shares @ jaw > 1.3 * jaw.mean()


def test_a_face_that_few_frames_show_is_drawn_oftener_but_not_without_end():
    calm, blinking = np.zeros((95, 4)), np.zeros((5, 4))
    calm[:, 0] = np.linspace(0, 0.02, 95)
    blinking[:, 1] = 1
    faces = np.concatenate([calm, blinking])
    shares = shares_by_face(faces, 0.5)
    assert shares.sum() == pytest.approx(1) and (shares <= 4 / 100 + 1e-9).all()
    assert shares[95:].min() > 3 * shares[:95].max()
    assert shares_by_face(faces, 0.0) == pytest.approx(np.full(100, 1 / 100))
    assert shares_by_face(np.ones((7, 4)), 1.0) == pytest.approx(np.full(7, 1 / 7))
