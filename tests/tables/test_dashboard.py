"""W&B's workspace and report of a sweep: what they show is what was logged, and a server gets what was written down."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from talkingavatar.config.compose import compose
from talkingavatar.engine.media.writer import VideoWriter
from talkingavatar.engine.run.directory import RunDirectory
from talkingavatar.engine.tracking.offline import tracked_rows, tracked_summary
from talkingavatar.engine.tracking.tracker import Tracker, track_results
from talkingavatar.errors import UserError
from talkingavatar.tables.dashboard import dashboard
from talkingavatar.tables.publish import write
from talkingavatar.tables.results import read_results
from talkingavatar.tables.runs import read_run
from tests.behaviour.test_mistakes import refused
from tests.tables.test_report import write_run
from tests.wandb_server import PROJECT, Server

METRICS = {"sync/md": 7.5, "sync/conf": 3.0, "lmd/mouth_px": 1.5, "full/psnr": 30.0, "mouth/psnr": 24.0}


def metric_names(spec: dict) -> set[str]:
    """Everything that the panels of a workspace or report ask W&B for."""
    found: set[str] = set()
    if isinstance(spec, dict):
        for key, value in spec.items():
            named = key in ("metrics", "mediaKeys") and isinstance(value, list)
            found |= set(value) if named else metric_names(value)
        if "fromOp" in spec and spec["fromOp"]["name"] == "pick":
            found.add(spec["fromOp"]["inputs"]["key"]["val"])
    elif isinstance(spec, list):
        found = {name for value in spec for name in metric_names(value)}
    return found


@pytest.fixture
def tracked(tmp_path, monkeypatch):
    """A run as fit and evaluate leave it, followed by W&B itself."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = compose([f"run.path={tmp_path / 'sweep' / 'one'}", "tracking.group=sweep"])
    run = RunDirectory.open(config)
    tracker = Tracker(config, run)
    for step in (10, 20):
        run.log(step, {"loss/total": 1 / step, "loss/l1": 0.1, "preview/psnr": 20.0, "lr/means": 1e-4})
        tracker.follow()
    Image.new("RGB", (32, 32)).save(run.media / "contact_sheet.png")
    with VideoWriter(run.media / "side_by_side.mp4", 25.0) as video:
        video.write(np.zeros((32, 32, 3), np.uint8))
    own = {"heldout/full/psnr": 30.0, "heldout/full/ssim": 0.9, "heldout/mouth/lpips_alex": 0.1, "speed/drive_fps": 9.0}
    tracker.finish(20, sorted(run.media.iterdir()), [{"held-out": "full frame", "PSNR": "30.0"}], own)
    run.write_summary({"status": "finished", "metrics": own, "steps": 20})
    run.status("finished", step=20, steps=20)
    facts = {
        "experiment": "thgs_full",
        "family": "thgs",
        "seed": 0,
        "subject": "speaker-0",
        "suite": 2,
        "metrics": METRICS,
        "skipped": {},
        "curves": {},
        "split": {},
        "frames": [],
        "backbones": {},
    }
    (run.path / "evaluation").mkdir()
    for condition in ("full", "silent"):
        (run.path / f"evaluation/{condition}.json").write_text(json.dumps(facts | {"condition": condition}))
        track_results(config, run, condition, METRICS)
    return run


def test_every_panel_shows_what_was_logged(tracked, command):
    done = command("report", f"sweep={tracked.path.parent}", "dashboard=true")
    assert done.returncode == 0, done.stderr
    file = tracked.path.parent / "report.wandb.json"
    assert f"dashboard: {file}" in done.stdout
    spec = json.loads(file.read_text())
    shown = metric_names(spec["workspace"])
    # A table and a medium are logged as parts of one key each.
    logged = {key.removesuffix("/path") for row in tracked_rows(tracked.path) for key in row}
    logged |= tracked_summary(tracked.path).keys()
    assert shown <= logged
    assert {"loss/total", "preview/psnr", "heldout/full/psnr", "heldout/mouth/lpips_alex", "table"} <= shown
    assert {"media/side_by_side", "media/contact_sheet"} <= shown
    assert {"evaluate/full/sync/md", "evaluate/silent/sync/conf", "evaluate/full/lmd/mouth_px"} <= shown
    assert metric_names(spec["report"]) <= shown
    assert metric_names(spec["report"]) >= {"heldout/full/psnr", "evaluate/full/sync/md", "media/side_by_side"}


def board(*folders, **config):
    runs = [write_run(folder, own=30.0, tracking=config or {"group": "mine"}) for folder in folders]
    for run in runs:
        (run / "wandb_id").write_text(run.name)
    return dashboard("mine", [read_results(read_run(run)) for run in runs], ["loss/total"], [], ["two runs"])


def test_what_was_written_is_what_wandb_reads(tmp_path):
    from wandb_workspaces.reports.v2.internal import Spec
    from wandb_workspaces.workspaces.internal import View

    content = board(tmp_path / "a", tmp_path / "b")
    write(content, tmp_path / "one.json")
    write(content, tmp_path / "two.json")
    assert (tmp_path / "one.json").read_text() == (tmp_path / "two.json").read_text(), "no random names"
    written = json.loads((tmp_path / "one.json").read_text())
    section = View.model_validate(written["workspace"]).spec.section
    assert [s.name for s in section.panel_bank_config.sections] == ["Held out", "Training", "Runs", "More"]
    (runs,) = section.run_sets
    assert [(key.section, key.name) for key in runs.grouping] == [("config", "experiment.value")]
    (chosen,) = written["workspace"]["spec"]["section"]["runSets"][0]["filters"]["filters"]
    assert (chosen["key"]["name"], chosen["op"], chosen["value"]) == ("group", "IN", ["mine"])
    assert "config:data.value.identity" in runs.run_feed.column_pinned
    report = Spec.model_validate(written["report"]["spec"])
    assert len([block for block in report.blocks if type(block).__name__ == "PanelGrid"]) == 3


def test_runs_without_a_group_are_chosen_by_their_ids(tmp_path):
    write(board(tmp_path / "a", tmp_path / "b", name="wandb"), tmp_path / "one.json")
    (runs,) = json.loads((tmp_path / "one.json").read_text())["workspace"]["spec"]["section"]["runSets"]
    (chosen,) = runs["filters"]["filters"]
    assert (chosen["key"]["name"], chosen["value"]) == ("name", ["a", "b"])


def test_publishing_again_writes_over_what_was_published(tmp_path, command):
    content = board(tmp_path / "runs" / "a")
    with Server() as server:
        arguments = ["report", f"sweep={tmp_path / 'runs'}", f"publish=us/{PROJECT}"]
        for _ in range(2):
            done = command(*arguments, **server.environment())
            assert done.returncode == 0, done.stderr
            addresses = [line for line in done.stdout.splitlines() if line.startswith("published: ")]
            assert len(addresses) == 2 and all(f"/us/{PROJECT}" in line for line in addresses)
        assert {view["type"] for view in server.views.values()} == {"runs", "project-view"} and len(server.views) == 2
        shown = [metric_names(json.loads(view["spec"])) for view in server.views.values()]
        assert all("heldout/full/psnr" in names for names in shown)
        refused(
            command(*arguments[:-1], "publish=us/another", **server.environment()), "project 'us/another' not found"
        )
    assert content.ids == ("a",)


def test_a_server_that_is_away_is_one_clear_line(tmp_path, command):
    board(tmp_path / "runs" / "a")
    with Server() as server:
        environment = server.environment() | {"WANDB_HTTP_TIMEOUT": "2"}
    done = command("report", f"sweep={tmp_path / 'runs'}", "publish=us/avatars", **environment)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: publish: ")


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("team", "expected entity/project"),
        ("team/avatars", "not logged in to W&B; expected an API key; run `wandb login`"),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path, command, place, expected):
    board(tmp_path / "runs" / "a")
    refused(command("report", f"sweep={tmp_path / 'runs'}", f"publish={place}", WANDB_MODE="offline"), expected)
    assert not (tmp_path / "runs/report.html").exists()


def test_it_never_imports_torch(tmp_path):
    board(tmp_path / "runs" / "a")
    code = (
        "import sys\nfrom talkingavatar.report import main\n"
        f"assert main(['sweep={tmp_path / 'runs'}', 'dashboard=true']) == 0\n"
        "heavy = {'torch', 'lightning', 'matplotlib', 'numba'} & sys.modules.keys()\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(UserError, match="a file that can be written"):
        write(board(tmp_path / "a"), tmp_path / "nowhere" / "one.json")
