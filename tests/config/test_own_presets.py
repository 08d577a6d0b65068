"""Presets in a folder of the user's, found beside those of the package."""

import pytest

from talkingavatar.config.compose import compose
from talkingavatar.config.listing import family_of, group_options
from talkingavatar.config.protocol import names, read_protocol
from talkingavatar.errors import UserError


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes files into it; its name is one that Hydra's grammar has to be told of."""
    folder = tmp_path / "Ada's, own"
    folder.mkdir()
    monkeypatch.setenv("TALKINGAVATAR_CONF", str(folder))

    def write(place: str, text: str) -> None:
        file = folder / f"{place}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    return write


def test_an_experiment_a_family_and_what_holds_on_this_machine(own):
    everywhere = "# @package _global_\n"
    own("experiment/mine/coarse", everywhere + "defaults: [override /family: mine]\nmethod: {options: {leb: false}}")
    own("family/mine", everywhere + "defaults: [thgs, _self_]\nbody: {name: open_flame}\ndata: {size: 64}")
    own("local/default", everywhere + "tracking: {project: ours}\ndata: {fps: 30}")
    config = compose(["experiment=mine_coarse"])
    assert (config.experiment, config.family, config.body.name) == ("mine_coarse", "mine", "open_flame")
    assert config.data.size == 64 and config.method.options["leb"] is False and config.loss.terms["leb"].weight == 0.1
    assert config.tracking.project == "ours" and config.data.fps == 30
    assert compose(["data.fps=20"]).data.fps == 20
    assert family_of("mine_coarse") == "mine" and family_of("thgs_full") == "thgs"


def test_a_protocol(own):
    own("evaluate/protocol/mine", "title: mine\ncolumns: [{title: PSNR, key: full/psnr}]\n")
    assert {"mine", "table3"} <= set(names("protocol")) and read_protocol("mine").title == "mine"


def test_a_name_that_is_taken_is_refused(own):
    own("experiment/thgs_full", "# @package _global_\n")
    with pytest.raises(UserError, match="thgs_full, which is the name of another preset"):
        group_options()


def test_a_folder_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TALKINGAVATAR_CONF", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"TALKINGAVATAR_CONF: found .*nowhere: no such folder"):
        compose([])
