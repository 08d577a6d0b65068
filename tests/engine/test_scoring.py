"""A metric is one object: what it needs and does not find is a visible skip, and all of them stand in one list."""

from copy import copy
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from talkingavatar.body.action_units import NamedFace
from talkingavatar.body.models import load_body
from talkingavatar.body.pose_parts import PoseParts
from talkingavatar.config.compose import compose
from talkingavatar.data.motion_clips import speaker_clip
from talkingavatar.engine.measuring.foretold import Foretold
from talkingavatar.engine.measuring.held_out import held_out_of_clip
from talkingavatar.engine.measuring.measure import NOT_ASKED, Findings, Found, Measure, Networks, Options, Setting
from talkingavatar.engine.measuring.measures.driver_motion import DriverMotion
from talkingavatar.engine.measuring.measures.face_motion import FaceMotion
from talkingavatar.engine.measuring.measures.registry import MEASURES, definitions, find_networks
from talkingavatar.engine.measuring.scoring import Scoring, score_motion
from talkingavatar.runtime.readers import Unreadable
from talkingavatar.types import DrivingSignal


class Sway(Measure):
    """A toy: how far the root wanders; needs nothing."""

    keys = ("sway",)
    definitions: ClassVar = {"sway": "metres"}

    def __init__(self, setting):
        super().__init__(setting)
        self.places, self.closed = [], False

    def add(self, i, shown, truth, signal):
        self.places.append(signal.pose.transl[0])

    def finish(self, found, truth):
        places = torch.stack(self.places)
        return Findings(
            {"sway/m": float(places.std(0).norm()), "sway/none": float("nan")}, tables={"sway": places.numpy()}
        )

    def close(self):
        self.closed = True


class After(Measure):
    """Goes on from what `Sway` found, of the video and of the ground truth."""

    keys = ("after",)
    needs = ("truth",)

    def finish(self, found, truth):
        return Findings({"after/frames": float(len(found.tables["sway"])), "after/truth": truth.metrics["sway/m"]})


class Picky(Measure):
    """Wants a network that nobody has."""

    keys = ("picky", "choosy")
    needs = ("truth", "unicorn")
    wants = ("lpips_",)

    @classmethod
    def find(cls, options):
        return {"unicorn": Found(why="no unicorn.pth in /x"), "lpips_alex": Found(why="no alexnet")}

    def finish(self, found, truth):
        raise AssertionError("it was not asked")


@pytest.fixture(scope="module")
def clip():
    config = compose(["data.seconds=4", "tracking=none"])
    return speaker_clip(config.data, config.audio, "smplx", 25.0, 0.5)


@pytest.fixture(scope="module")
def held(clip):
    return held_out_of_clip(clip, load_body("open"))


def test_measures_go_on_from_one_another(held):
    setting = Setting(held, Networks(), Options(), {})
    found = score_motion(setting, [Sway])
    assert found.metrics["sway/m"] > 0 and found.missed == {"sway/none": "nothing to measure it on was seen"}
    with Scoring([Sway, After], setting) as scoring:
        for i in range(3):
            scoring.add(i, None, None, DrivingSignal(torch.tensor([i]), held.tracked[[i]]))
        after = scoring.finish(found)
    assert after.metrics["after/frames"] == 3 and after.metrics["after/truth"] == found.metrics["sway/m"]
    assert all(measure.closed for measure in scoring.running if isinstance(measure, Sway))
    assert definitions(found.metrics, [Sway, After]) == {"sway": "metres"}


def test_a_need_not_met_is_a_skip_of_all_it_would_give(held):
    networks = find_networks([Sway, Picky], Options())
    assert networks.used == {} and set(networks.missing) == {"unicorn", "lpips_alex"}
    found = score_motion(Setting(held, networks, Options(), {}), [Picky])
    assert found.skipped == {
        "picky": "no unicorn.pth in /x", "choosy": "no unicorn.pth in /x", "lpips_alex": "no alexnet",
    }  # fmt: skip


def test_what_nobody_asks_for_is_no_skip(held):
    found = score_motion(Setting(held, Networks(), Options(), {"truth": NOT_ASKED}), [After])
    assert found == Findings()


def test_findings_come_back_from_their_file(held, tmp_path):
    found = score_motion(Setting(held, Networks(), Options(), {}), [Sway])
    found.curves["sway"] = [[0.0, 1.0], [2.0, 3.0]]
    found.save(tmp_path / "found.npz")
    back = Findings.load(tmp_path / "found.npz")
    assert (back.metrics, back.skipped, back.curves) == (found.metrics, found.skipped, found.curves)
    assert np.array_equal(back.tables["sway"], found.tables["sway"])


@pytest.mark.parametrize("changed", ["text", "sway", "more", "object"])
def test_findings_that_others_changed_are_none(held, tmp_path, changed):
    """Numbers, shapes and names that `save` did not write are not taken for measured."""
    score_motion(Setting(held, Networks(), Options(), {}), [Sway]).save(tmp_path / "found.npz")
    with np.load(tmp_path / "found.npz") as archive:
        arrays = dict(archive)
    arrays |= {
        "text": {"text": np.array(str(arrays["text"]).replace("sway", "away"))},
        "sway": {"sway": np.full_like(arrays["sway"], np.nan)},
        "more": {"more": np.zeros(3)},
        "object": {"sway": np.array([{}])},
    }[changed]
    np.savez(tmp_path / "found.npz", **arrays)
    with pytest.raises(Unreadable, match="made anew"):
        Findings.load(tmp_path / "found.npz")


def test_the_list_names_what_it_lacks():
    """Every measure says under which keys it is missed, and each key has its words."""
    words = {name for measure in MEASURES for name in measure.definitions}
    for measure in MEASURES:
        assert measure.keys and measure.version >= 1
    assert {"psnr", "sync", "mouth_sync", "lmd", "jitter", "au", "identity", "driver", "speed", "view"} <= words


def test_motion_told_from_sound_is_measured_without_pictures(held):
    """The true motion, given for foretold, agrees with itself."""
    body = held.body
    parts = PoseParts(body, ("jaw", "mouth"))
    moving = parts.read(held.truth).std(0) > 0
    signal = DrivingSignal(torch.tensor(held.frames), held.truth)
    foretold = Foretold(signal, (), parts, torch.ones(len(parts)), moving)
    setting = Setting(held, Networks(), Options(), {}, foretold=foretold)
    metrics = score_motion(setting, [DriverMotion]).metrics
    assert metrics["driver/opening_r/true"] == pytest.approx(1)
    assert metrics["driver/opening_offset/true"] == 0
    assert metrics["driver/opening_mm/true"] == pytest.approx(0, abs=1e-6)
    assert metrics["driver/params_r/true"] == pytest.approx(1)
    assert metrics["driver/lips_mm/true"] == pytest.approx(0, abs=1e-4)
    assert metrics["driver/jitter/predicted"] == metrics["driver/jitter/true"]
    assert metrics["driver/opening_r/tracked"] < 1


def test_the_true_face_is_no_way_from_itself(held):
    body = held.body
    foretold = Foretold(DrivingSignal(torch.tensor(held.frames), held.truth))
    found = score_motion(Setting(held, Networks(), Options(), {}, foretold=foretold), [FaceMotion])
    own = {key: value for key, value in found.metrics.items() if key.endswith("/true")}
    errors = {key: value for key, value in own.items() if "/r_" not in key and "mean_r" not in key}
    assert len(errors) == 7 and max(map(abs, errors.values())) < 1e-6
    assert own["motion/mean_r/true"] == pytest.approx(1) and own["motion/r_AU26/true"] == pytest.approx(1)
    assert found.metrics["motion/lve_mm2/tracked"] > 0.01
    other = replace(held, body=replace_names(body))
    unnamed = score_motion(Setting(other, Networks(), Options(), {}, foretold=foretold), [FaceMotion])
    assert "no names" in unnamed.skipped["motion/mean_r"] and "motion/lve_mm2/true" in unnamed.metrics


def test_what_the_units_stage_said_is_measured_beside_the_face(held):
    true = torch.from_numpy(NamedFace(held.body).units(held.truth)).float()
    signal = DrivingSignal(torch.tensor(held.frames), held.tracked, actions=true)
    found = score_motion(Setting(held, Networks(), Options(), {}, foretold=Foretold(signal)), [FaceMotion]).metrics
    assert found["units/aue_lower/true"] < 1e-6 < 0.01 < found["motion/aue_lower/true"]


def replace_names(body):
    """The same body, whose expressions nobody named."""
    unnamed = copy(body)
    unnamed.expression_names = [f"exp_{i}" for i in range(len(body.expression_names))]
    return unnamed
