"""Whom a driver of action units learns of: clips that know them."""

import shutil

import pytest

from talkingavatar.config.compose import compose
from talkingavatar.config.stages import seen_by
from talkingavatar.engine.build import build_capture
from talkingavatar.engine.stages.driver import DriverFit
from talkingavatar.engine.stages.stage import StageContext
from talkingavatar.errors import UserError
from tests.conftest import TINY

GIVEN = ["experiment=audio2param", *TINY, "driver.options.identities=[]", "driver.options.targets=[units]"]


@pytest.fixture
def unknown(cache, tmp_path):
    """A capture whose face nobody has told in units."""
    folder = tmp_path / "plain"
    shutil.copytree(build_capture(compose(GIVEN)).folder, folder)
    for file in [*folder.rglob("aus.npz"), *folder.rglob("actions.npz")]:
        file.unlink()
    return folder


def stage(*overrides):
    return DriverFit(StageContext("driver", seen_by(compose([*GIVEN, *overrides]), "driver"), {}))


def test_a_clip_without_units_is_left_out_and_the_runs_own_is_refused(unknown):
    made = stage(f"driver.options.captures=[{unknown}]")
    assert [clip.name for clip in made.clips] == ["speaker-0"]
    assert made.skipped["driver/speaker-0"] == "its action units are not known"
    with pytest.raises(
        UserError, match=r"^data: found speaker-0, whose action units are not known; .*embedded speaker"
    ):
        stage("data=capture", f"data.path={unknown}")
    assert len(stage(f"driver.options.captures=[{unknown}]", "driver.options.targets=[jaw]").clips) == 2


def test_nobody_says_before_what_the_runs_own_says_later():
    """A stranger speaks with the voice of one of the named."""
    made = stage("data.identity=4", "driver.options.identities=[1]")
    assert [clip.name for clip in made.clips] == ["speaker-4"]
