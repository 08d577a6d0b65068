"""Measuring small fitted runs through the command line."""

import csv
import json
import shutil
import signal
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from talkingavatar.config.protocol import read_condition
from talkingavatar.engine.fitted import load_run
from talkingavatar.engine.measuring.driven_frames import DrivenFrames
from talkingavatar.engine.measuring.evaluate import EvaluateConfig, evaluate
from talkingavatar.engine.measuring.held_out import held_out
from talkingavatar.engine.measuring.measure import Findings, Measure
from talkingavatar.engine.measuring.measures import registry
from talkingavatar.engine.media.writer import VideoWriter
from talkingavatar.splatting import to_bytes
from tests.behaviour.test_mistakes import refused
from tests.conftest import TINY, cold, quick_help

# 30 held-out frames: as few as motion can be told from.
SPEAKER = ["data=speaker", "data.seconds=6", "data.size=96"]
LIGHT = ["landmarks=none", "views=none"]
SMALL = [*TINY, "data.seconds=6", "data.size=96", "budget.heldout_frames=1", "budget.aligned_frames=0"]


@pytest.fixture(scope="module")
def runs(cache, warm, tmp_path_factory) -> dict[str, Path]:
    """Two runs that were stopped on their way: what has a checkpoint can be measured."""
    folder = tmp_path_factory.mktemp("evaluate")
    made = {}
    for experiment in ("thgs_full", "thgs_wo_saam"):
        made[experiment] = folder / experiment
        overrides = [*SMALL, f"experiment={experiment}", f"run.path={made[experiment]}", "run.stop_after=20"]
        done = warm.start("fit", *overrides).finish(300)
        assert done.returncode == 75, done.stderr
    return made


def evaluated(done) -> Path:
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("evaluation: ")
    return Path(last.removeprefix("evaluation: "))


def test_runs_make_the_papers_tables(command, runs, tmp_path):
    chosen = ",".join(map(str, runs.values()))
    arguments = [f"run={chosen}", "protocol=table4,table6,motion,expressions", "landmarks=none", "views=30"]
    arguments += ["expressions=jaw", f"out={tmp_path}"]
    out = evaluated(command("evaluate", *arguments))
    text = (out / "tables.md").read_text()
    for label in ("ground truth", "w/o SAAM (retrained)", "w/o audio (silenced)", "full"):
        assert f"| {label} |" in text
    rows = list(csv.DictReader((out / "tables.csv").open()))
    psnr = {r["row"]: float(r["value"]) for r in rows if r["table"] == "table6" and r["metric"] == "full/psnr"}
    assert set(psnr) == {"w/o SAAM", "full"} and all(5 < value < 60 for value in psnr.values())
    assert all(r["value"] or r["skipped"] for r in rows), "a cell without a number says why"
    result = json.loads((runs["thgs_full"] / "evaluation" / "full.json").read_text())
    for fact in ("suite", "definitions", "backbones", "capture", "split", "body", "commit", "device", "checkpoint"):
        assert result[fact] is not None
    assert len(result["per_frame"]["mouth/psnr"]) == 30
    assert sum(result["per_frame"]["mouth/psnr"]) / 30 == pytest.approx(result["metrics"]["mouth/psnr"], rel=1e-4)
    assert sum(value is not None for value in result["per_frame"]["jitter_ratio/colours"]) == 30 - 4
    assert result["metrics"]["cost/megabytes"] > 0.1 and result["skipped"]["cost/minutes"] == "the fit has not finished"
    assert "of 13 orderings" in text and "| cannot tell |" in text
    assert result["split"]["count"] == 30 and "view_30/psnr" in result["metrics"]
    assert 5 < result["metrics"]["expressions_mouth/psnr"] < 60
    assert Image.open(runs["thgs_full"] / "evaluation" / "expressions.png").width > 4 * 160
    assert "landmarks=none" in result["skipped"]["lmd"] and "syncnet" in result["skipped"]["sync"]
    # What silencing took away is told, and it changed what was drawn.
    silent = json.loads((runs["thgs_full"] / "evaluation" / "silent.json").read_text())
    assert silent["silence"] == ["audio", "expression"]
    assert silent["metrics"]["mouth/psnr"] != result["metrics"]["mouth/psnr"]
    with Image.open(runs["thgs_full"] / "evaluation" / "full.png") as picture:
        assert picture.width == 5 * 96


def test_what_was_measured_is_not_measured_again(command, runs):
    arguments = [f"run={runs['thgs_wo_saam']}", "landmarks=none", "views=none"]
    out = evaluated(command("evaluate", *arguments))
    before = (out / "full.json").read_text()
    assert evaluated(command("evaluate", *arguments)) == out
    assert (out / "full.json").read_text() == before, "wall_s would differ"
    evaluated(command("evaluate", *arguments, "frames=26"))
    assert json.loads((out / "full.json").read_text())["split"]["count"] == 26


def test_a_run_that_cannot_be_opened_is_left_out_with_the_reason(command, runs, tmp_path):
    lost = tmp_path / "lost"
    shutil.copytree(runs["thgs_full"], lost, ignore=shutil.ignore_patterns("*.ckpt", "evaluation"))
    done = command("evaluate", f"run={lost},{runs['thgs_wo_saam']}", *LIGHT, "frames=26", f"out={tmp_path}")
    rows = list(csv.DictReader((evaluated(done) / "tables.csv").open()))
    there = {experiment: [row for row in rows if row["row"] == experiment] for experiment in runs}
    assert all("lost: no checkpoint" in row["skipped"] for row in there["thgs_full"]) and there["thgs_full"]
    assert any(row["value"] for row in there["thgs_wo_saam"])
    assert f"{lost}: skipped: " in done.stderr
    refused(command("evaluate", f"run={lost}", *LIGHT), "run", "no checkpoint")


class Brightness(Measure):
    """A toy: a metric in one file."""

    keys = ("toy",)
    needs = ("pictures", "truth")
    definitions: ClassVar = {"toy": "mean by which a render is brighter than the ground truth"}

    def __init__(self, setting):
        super().__init__(setting)
        self.values = []

    def add(self, i, shown, truth, signal):
        self.values.append(float((shown.image - truth.image[0]).mean()))

    def finish(self, found, truth):
        return Findings({"toy/brighter": sum(self.values) / len(self.values)})


def test_a_metric_is_one_object_in_one_list(cache, runs):
    """Registered, it is measured, told what it means, and what was measured without it is measured anew."""
    run, check = runs["thgs_wo_saam"], lambda: None
    config = EvaluateConfig((run,), landmarks="none", views=(), progress=False)
    (before,) = evaluate(config, check).results
    assert "toy/brighter" not in before["metrics"]
    registry.MEASURES.append(Brightness)
    try:
        (result,) = evaluate(config, check).results
    finally:
        registry.MEASURES.remove(Brightness)
    assert -1 < result["metrics"]["toy/brighter"] < 1
    assert "brighter" in result["definitions"]["toy"] and result["key"] != before["key"]
    unchanged = {key: value for key, value in before["metrics"].items() if not key.startswith("speed/")}
    assert unchanged.items() <= result["metrics"].items()
    assert "toy/brighter" not in result["truth"]["metrics"]


def test_a_driver_alone_fills_a_protocol(command, tmp_path):
    run = tmp_path / "run"
    more = ["driver.options.identities=[]", "stages.driver.steps=6", f"run.path={run}"]
    done = command("fit", "experiment=audio2param", *SMALL, *more)
    assert done.returncode == 0, done.stderr
    out = evaluated(command("evaluate", f"run={run}", "protocol=driver,overview", "landmarks=none"))
    rows = list(csv.DictReader((out / "tables.csv").open()))
    values = {(r["row"], r["metric"]): r["value"] for r in rows if r["table"] == "driver"}
    assert all(value for (_, metric), value in values.items() if not metric.startswith("emotion/")) and {
        row for row, _ in values
    } == {"audio2param, spoken", "audio2param, ridge"}
    skipped = {r["skipped"] for r in rows if (r["table"], r["row"]) == ("overview", "audio2param")}
    assert skipped == {"a run of a driver alone draws nothing"}
    # The end of the fit measured the same frames by the same code.
    summary = json.loads((run / "summary.json").read_text())
    result = json.loads((run / "evaluation" / "spoken.json").read_text())
    driver = {key: value for key, value in result["metrics"].items() if key.startswith("driver/")}
    assert driver and driver.items() <= summary["metrics"].items()
    assert [(own["condition"], own["frames"] == result["frames"]) for own in summary["measured"]] == [
        ("spoken", True), ("ridge", True),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def videos(runs) -> Path:
    """What the run draws: as pictures, late in a film, and in a film of another rate and size."""
    folder = runs["thgs_full"].parent / "videos"
    folder.mkdir()
    fitted = load_run(runs["thgs_full"])
    held = held_out(fitted.data, fitted.body)
    driven = DrivenFrames(fitted, held, read_condition("full"))
    drawn = [to_bytes(driven.draw(i)[0]) for i in range(len(held.frames))]
    (folder / "pictures").mkdir()
    for i, picture in enumerate(drawn):
        Image.fromarray(picture).save(folder / "pictures" / f"{i + 8}.png")  # numbers that names do not sort by
    with VideoWriter(folder / "late.mp4", 25.0, crf=8) as film:
        for picture in [drawn[0]] * 3 + drawn:
            film.write(picture)
    with VideoWriter(folder / "other.mp4", 50.0, crf=8) as film:
        for picture in np.repeat(drawn, 2, 0):
            film.write(np.asarray(Image.fromarray(picture).resize((192, 192))))
    (folder / "wide").mkdir()
    for i in range(len(drawn)):
        Image.new("RGB", (120, 96)).save(folder / "wide" / f"{i}.png")
    entries = [{"video": name, "label": name} for name in ("pictures", "late.mp4", "other.mp4")]
    (folder / "list.yaml").write_text(json.dumps(entries))
    return folder


def test_what_a_run_draws_scores_as_the_run(command, runs, videos, tmp_path):
    run = runs["thgs_full"]
    arguments = [f"run={run}", f"video={videos / 'list.yaml'}", *SPEAKER, *LIGHT]
    out = evaluated(command("evaluate", *arguments, "protocol=overview,table3"))
    ours, pictures, late, other = json.loads((out / "results.json").read_text())[0], *_shown(out)
    same = [key for key in ours["metrics"] if key.endswith(("/psnr", "/l1", "/ssim")) and key in pictures["metrics"]]
    assert len(same) > 8
    for key in same:  # as they were drawn, but for the rounding to bytes
        assert pictures["metrics"][key] == pytest.approx(ours["metrics"][key], rel=1e-3), key
        for video in (late, other):  # and for what the codec costs, and the scaling
            assert video["metrics"][key] == pytest.approx(ours["metrics"][key], rel=0.05), key
    assert pictures["metrics"]["jitter/colours"] == pytest.approx(ours["metrics"]["jitter/colours"], abs=0.05)
    assert pictures["frames"] == late["frames"] == other["frames"] == ours["frames"]
    assert [video["external"]["late"] for video in (pictures, late, other)] == [0, 3, 0]
    assert pictures["external"]["told"] == [] and late["external"]["told"] == ["3 frames late, moved back"]
    assert other["external"]["told"] == [
        "50 pictures a second, resampled by time for 25", "pictures of 192x192, scaled to 96x96",
    ]  # fmt: skip
    assert pictures["truth"] == ours["truth"]
    for name in ("speed", "emotion", "jitter/rotations_deg"):
        assert "a video from elsewhere" in pictures["skipped"][name]
    text = (out / "tables.md").read_text()
    assert text.count("| late.mp4 (external) |") == 2 and "late.mp4, speaker-0, external: 3 frames late" in text
    # Known again by its content, whatever its name; and `report` has it beside ours.
    before = (out / "results.json").read_text()
    assert evaluated(command("evaluate", *arguments, "protocol=overview,table3")) == out
    assert (out / "results.json").read_text() == before
    done = command("report", f"sweep={tmp_path / 'runs'}", "protocol=overview")
    assert done.returncode == 0, done.stderr
    assert "pictures (external)" in (tmp_path / "runs" / "report.md").read_text()
    folder = next((tmp_path / "runs").glob("external-pictures-*"))
    refused(command("export", f"run={folder}", "to=ply"), "a video that others rendered")
    assert evaluated(command("evaluate", f"run={folder}", *LIGHT)) == folder / "evaluation"


def _shown(out: Path) -> list[dict]:
    results = json.loads((out / "results.json").read_text())
    return [result for result in results if result["condition"] == "shown"]


def test_stopped_it_continues(start, runs, tmp_path):
    arguments = [f"run={runs['thgs_full']}", "protocol=table8", "landmarks=none", "views=none", f"out={tmp_path}"]
    first = runs["thgs_full"] / "evaluation" / "wo_audio.json"
    first.unlink(missing_ok=True)
    process = start("evaluate", *arguments, "fresh=true")
    until = time.monotonic() + 200
    while not first.is_file() and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGUSR1)
    stopped = process.finish(timeout=100)
    kept = first.read_text()
    if stopped.returncode == 75:  # else it was faster than the signal
        assert "start the same command again" in stopped.stdout, stopped.stderr
    done = cold("evaluate", *arguments)
    assert done.returncode == 0, done.stderr
    assert first.read_text() == kept


def test_metric_networks_are_in_no_checkpoint(runs):
    content = torch.load(runs["thgs_full"] / "avatar.ckpt", weights_only=True)
    names = " ".join(content["state_dict"])
    assert "gaussians.means" in names
    for network in ("lpips", "netcnn", "netfc", "slice"):
        assert network not in names


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "run: found nothing"),
        (["run=nowhere"], "no such folder"),
        (["run={run}", "protocol=tabel3"], "did you mean table3"),
        (["run={run}", "expressions=smlie"], "did you mean smile"),
        (["run={run}", "condition=loud"], "condition"),
        (["run={run}", "lpips=resnet"], "alex, vgg, squeeze"),
        (["run={run}", "frames=some"], "a whole number"),
        (["run={run}", "frames=3"], "at least 25"),
        (["run={run}", "syncnet={run}/nothing"], "SyncNet's weights"),
        (["run={run}", "syncnet={run}/config.yaml"], "weights of SyncNet"),
        (["run={run}", "runn=x"], "did you mean run"),
        (["video=nowhere.mp4", *SPEAKER], "nowhere.mp4: no such file"),
        (["video={videos}/pictures"], "data.path: found nothing"),
        (["video={videos}/pictures", "data.path={videos}"], "a folder without capture.json"),
        (["video={videos}", *SPEAKER], "a folder without pictures"),
        (["video={videos}/list.yaml", *SPEAKER, "labl=x"], "did you mean label"),
        (["video={run}/config.yaml", *SPEAKER], "a list"),
        (["video={run}/avatar.ckpt", *SPEAKER], "unreadable"),
        (["video={videos}/pictures", *SPEAKER, "fps=50"], "15 pictures at 25 a second"),
        (["video={videos}/pictures", *SPEAKER, "label=thgs_full"], "no experiment's"),
        (["video={videos}/pictures", *SPEAKER, "frames=20"], "at least 25"),
        (["video={videos}/wide", *SPEAKER], "pictures of 120x96"),
        (["label=x", "run={run}"], "no video"),
    ],
)
def test_a_mistake_is_one_clear_line(command, runs, videos, arguments, expected):
    given = [text.format(run=runs["thgs_full"], videos=videos) for text in arguments]
    refused(command("evaluate", *given, "landmarks=none"), expected)


def test_help_is_quick():
    assert "table8" in quick_help("evaluate")
