"""Run directories as `fit` and `evaluate` leave them, finished, broken or half written, to tables and curves."""

import csv
import io
import json
import math
import re

import pytest
import yaml

from talkingavatar.config.protocol import TRUTH, Column, Protocol, Row, names, read_protocol
from talkingavatar.config.schema import SCHEMA
from talkingavatar.errors import UserError
from talkingavatar.tables import curves, runs
from talkingavatar.tables.formats import to_csv, to_markdown
from talkingavatar.tables.headings import headings
from talkingavatar.tables.latex import escaped, to_latex
from talkingavatar.tables.paper import paper_file, read_paper
from talkingavatar.tables.results import command_for, read_results, table_results, variants
from talkingavatar.tables.table import build_table, with_mean

PROTOCOL = Protocol(
    "modules",
    [Column("PSNR", "full/psnr"), Column("LPIPS x100", "full/lpips_alex", 3, 100.0, "low"), Column("AO", "sync/ao", 0)],
    [Row("w/o SAAM", "thgs_wo_saam"), Row("w/o LEB", "thgs_wo_leb"), Row("full", "thgs_full")],
)


def write_run(folder, experiment="thgs_full", identity=0, seed=0, psnr=None, own=None, state="finished", **config):
    """A run directory; `psnr` as evaluate measured it, `own` as the fit did itself."""
    folder.mkdir(parents=True)
    tree = {
        "schema": SCHEMA,
        "experiment": experiment,
        "family": "thgs",
        "seed": seed,
        "data": {"name": "speaker", "identity": identity},
        **config,
    }
    tree.setdefault("method", {"name": "thgs"})
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    status = {"state": state, "time": 1000.0, "step": 30, "steps": 40}
    status |= {"error": "Traceback\n  File x\nRuntimeError: out of memory\n"} if state == "failed" else {}
    (folder / "status.json").write_text(json.dumps(status))
    (folder / "provenance.json").write_text(json.dumps([{"commit": "0123456789", "dirty": True, "device": "cpu"}]))
    if own is not None:
        metrics = {"heldout/full/psnr": own, "heldout/full/lpips_alex": 0.05, "speed/drive_fps": 9.0}
        content = {"status": state, "steps": 40, "wall_s": 75.2, "metrics": metrics, "definitions": {"suite": 2}}
        under = {"full/psnr": own, "full/lpips_alex": 0.05, "speed/drive_fps": 9.0}
        content["measured"] = [{"condition": "full", "frames": [7, 8], "metrics": under, "skipped": {}}]
        (folder / "summary.json").write_text(json.dumps(content))
    if psnr is not None:
        facts = {
            "experiment": experiment,
            "family": "thgs",
            "seed": seed,
            "subject": f"speaker-{identity}",
            "condition": "full",
        }
        facts |= {"suite": 2, "commit": "abc", "device": "cpu", "split": {"count": 9}, "steps": 40}
        facts |= {"frames": list(range(9)), "backbones": {}}
        facts |= {"metrics": {"full/psnr": psnr, "full/lpips_alex": 0.04}, "skipped": {"sync": "no syncnet"}}
        facts |= {
            "curves": {"sync": [[-1, 0, 1], [9.0, 7.0, 8.5]]},
            "truth": {"metrics": {}, "skipped": {}, "curves": {}},
        }
        (folder / "evaluation").mkdir()
        (folder / "evaluation" / "full.json").write_text(json.dumps(facts))
    return folder


def table_of(folder, protocol=PROTOCOL):
    found = [read_results(runs.read_run(path)) for path in runs.find_runs(folder)]
    return build_table("t", protocol, table_results(protocol, found), every_row=True)


def test_a_cell_is_measured_or_stands_in_or_says_why(tmp_path):
    write_run(tmp_path / "full-0", psnr=30.0)
    write_run(tmp_path / "full-1", seed=1, psnr=31.0)
    write_run(tmp_path / "full-2", seed=2, own=99.0)
    write_run(tmp_path / "saam-0", "thgs_wo_saam", own=40.0)
    write_run(tmp_path / "leb-0", "thgs_wo_leb", state="failed")
    table = table_of(tmp_path)
    full, saam, leb = (table.line(label, "speaker-0") for label in ("full", "w/o SAAM", "w/o LEB"))
    assert full.seeds == (0, 1) and full.cells[0].value == 30.5 and full.cells[0].spread == pytest.approx(0.5**0.5)
    assert "seed 2" in full.left_out[0] and "not evaluated under 'full'" in full.left_out[0]
    assert saam.origin == "summary" and saam.cells[0].value == 40.0 and not saam.cells[0].best
    assert "not in the fit's own summary" in saam.cells[2].why
    assert leb.origin == "absent" and leb.cells[0].why == "failed: RuntimeError: out of memory (leb-0)"
    text = to_markdown(table)
    assert "40.00†" in text and "**30.50 ± 0.71**" not in text  # one measured row has no rival
    assert "not in the mean" in text and "out of memory" in text
    origins = {row["row"]: row["origin"] for row in csv.DictReader(io.StringIO(to_csv([table])))}
    assert origins == {"full": "evaluate", "w/o SAAM": "summary", "w/o LEB": "absent"}


def test_stand_ins_compete_where_nothing_was_measured(tmp_path):
    write_run(tmp_path / "a", own=30.0)
    write_run(tmp_path / "b", "thgs_wo_saam", own=31.0)
    table = table_of(tmp_path)
    assert [table.line(label, "speaker-0").cells[0].best for label in ("full", "w/o SAAM")] == [False, True]


def test_the_command_for_what_is_missing_names_finished_runs_alone(tmp_path):
    write_run(tmp_path / "a", psnr=30.0)
    write_run(tmp_path / "b", "thgs_wo_saam")
    write_run(tmp_path / "c", "thgs_wo_leb", state="running")
    found = [read_results(runs.read_run(path)) for path in runs.find_runs(tmp_path)]
    command = command_for("table6", table_results(PROTOCOL, found))
    assert command.endswith(f"protocol=table6 run={tmp_path / 'b'}")


def test_a_row_without_a_run_is_named(tmp_path):
    write_run(tmp_path / "a", psnr=30.0)
    table = table_of(tmp_path)
    assert table.labels == ("w/o SAAM", "w/o LEB", "full") and "no such run" in to_markdown(table)


def test_the_mean_over_subjects_needs_every_subject_measured_alike(tmp_path):
    write_run(tmp_path / "a", psnr=30.0)
    write_run(tmp_path / "b", identity=1, psnr=20.0)
    write_run(tmp_path / "c", "thgs_wo_saam", psnr=28.0)
    write_run(tmp_path / "d", "thgs_wo_saam", identity=1, own=29.0)
    table = with_mean(table_of(tmp_path))
    assert table.subjects == ("mean of 2", "speaker-0", "speaker-1")
    assert table.line("full", "mean of 2").cells[0].value == 25.0
    assert table.line("w/o SAAM", "mean of 2").cells[0].why == "not measured alike for every subject"
    assert table.line("w/o LEB", "mean of 2") is None


def test_two_runs_of_one_seed_are_told(tmp_path):
    write_run(tmp_path / "a", psnr=30.0, loss={"leb": 0.1})
    write_run(tmp_path / "b", psnr=32.0, loss={"leb": 0.2})
    assert any("several runs of one seed" in note for note in table_of(tmp_path).notes)
    found = [read_results(runs.read_run(path)) for path in runs.find_runs(tmp_path)]
    overview = Protocol("overview", PROTOCOL.columns)
    named = build_table("o", overview, table_results(overview, found, variants(run for run, _ in found)))
    assert named.labels == ("thgs_full, leb=0.1", "thgs_full, leb=0.2")


def test_another_seed_than_the_runs_own_is_named_in_full(tmp_path):
    for name in ("4", "5"):
        write_run(tmp_path / name, psnr=30.0, data={"name": "speaker", "seed": int(name)})
    named = variants(runs.read_run(path) for path in runs.find_runs(tmp_path))
    assert list(named.values()) == ["thgs_full, data.seed=4", "thgs_full, data.seed=5"]


def test_what_is_no_avatar_stands_in_no_table(tmp_path):
    write_run(tmp_path / "a", "syncnet", stages={"syncnet": {"kind": "pretrained"}}, own=3.0)
    found = [read_results(runs.read_run(path)) for path in runs.find_runs(tmp_path)]
    assert table_results(Protocol("overview", PROTOCOL.columns), found) == []


def test_what_a_fit_measures_stands_in_under_any_condition(tmp_path):
    folder = write_run(tmp_path / "run", own=30.0)
    summary = json.loads((folder / "summary.json").read_text())
    under = {"metrics": {"driver/opening_r/true": 0.7}, "skipped": {"driver/lips_mm": "no lips"}}
    summary["measured"].append({"condition": "ridge", "frames": [7, 8], **under})
    (folder / "summary.json").write_text(json.dumps(summary))
    columns = [Column("r", "driver/opening_r/true"), Column("mm", "driver/lips_mm/true")]
    (row,) = table_of(tmp_path, Protocol("t", columns, [Row("ridge", "thgs_full", "ridge")])).lines
    assert (row.origin, row.cells[0].value, row.cells[1].why) == ("summary", 0.7, "no lips")


@pytest.mark.parametrize(("frames", "expected"), [([7, 8], 0.05), ([7, 9], None)])
def test_a_fits_own_numbers_fill_the_gaps_of_the_same_frames(tmp_path, frames, expected):
    folder = write_run(tmp_path / "run", psnr=31.0, own=30.0)
    file = folder / "evaluation" / "full.json"
    result = json.loads(file.read_text()) | {"frames": frames}
    del result["metrics"]["full/lpips_alex"]
    file.write_text(json.dumps(result))
    (row,) = table_of(tmp_path, Protocol("t", PROTOCOL.columns[:2], [Row("full", "thgs_full")])).lines
    assert row.cells[0].value == 31.0, "what was evaluated stands"
    assert row.cells[1].value == (None if expected is None else pytest.approx(100 * expected))


def test_what_a_run_cannot_offer_is_said_in_its_cells(tmp_path):
    folder = write_run(tmp_path / "run", psnr=31.0)
    file = folder / "evaluation" / "full.json"
    result = json.loads(file.read_text()) | {"metrics": {}, "skipped": {}, "why": "the run has no stage rig"}
    file.write_text(json.dumps(result))
    (row,) = table_of(tmp_path, Protocol("t", PROTOCOL.columns[:1], [Row("full", "thgs_full")])).lines
    assert row.cells[0].why == "the run has no stage rig"


def test_half_written_runs_are_read_and_what_is_broken_is_named(tmp_path):
    run = write_run(tmp_path / "a", state="running", psnr=30.0)
    (run / "summary.json").write_text('{"status": "fin')
    (run / "evaluation" / "silent.json").write_text("[]")
    whole = json.loads((run / "evaluation" / "full.json").read_text())
    (run / "evaluation" / "full.json").write_text("{}")
    read, measured = read_results(runs.read_run(run, now=1010.0))
    assert (read.state, read.detail, measured) == ("running", "step 30 of 40", {})
    assert [problem.split(" cannot")[0] for problem in read.problems] == [
        "summary.json", "evaluation/full.json", "evaluation/silent.json",
    ]  # fmt: skip
    bad = {"seed": 1e400, "curves": {"sync": [[1], "a"]}, "skipped": {"sync": None}, "metrics": {"full/psnr": "30"}}
    bad |= {"truth": {"metrics": []}, "backbones": {"lpips_alex": "a"}, "frames": 3, "condition": None}
    for name, value in bad.items():
        (run / "evaluation" / "full.json").write_text(json.dumps(whole | {name: value}))
        read, measured = read_results(runs.read_run(run, now=1010.0))
        assert not measured and f"full.json cannot be read: another {name}" in read.problems[1]
    (run / "evaluation" / "full.json").write_text(
        json.dumps(whole | {"metrics": {"full/psnr": math.inf, "b": math.nan}})
    )
    assert read_results(runs.read_run(run))[1]["full"]["metrics"] == {"full/psnr": math.inf}
    assert "no sign for 2 h 0 min" in runs.read_run(run, now=1000.0 + 7200).detail
    (run / "config.yaml").write_text("seed: 3")
    read = runs.read_run(run)
    assert "a configuration of no schema; expected schema 1; fit it anew" in read.problems[0] and not read.config
    with pytest.raises(UserError, match="fit it anew"):
        runs.refuse_another_schema(run)
    (run / "config.yaml").write_text("a: [")
    runs.refuse_another_schema(run)
    assert "config.yaml cannot be read" in runs.read_run(run).problems[0]
    (run / "status.json").unlink()
    assert runs.read_run(run).state == "unknown"


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("metrics", {"metrics": {"heldout/full/psnr": "30"}}),
        ("metrics", {"metrics": []}),
        ("skipped", {"skipped": 3}),
        ("measured", {"measured": {"condition": "full"}}),
        ("measured", {"measured": [None]}),
        ("metrics", {"measured": [{"metrics": {"full/psnr": None}}]}),
        ("condition", {"measured": [{"condition": 3}]}),
    ],
)
def test_what_is_odd_in_a_summary_is_told(tmp_path, part, change):
    folder = write_run(tmp_path / "run", own=30.0)
    assert not runs.read_run(folder).problems
    (folder / "summary.json").write_text(json.dumps(json.loads((folder / "summary.json").read_text()) | change))
    read, _ = read_results(runs.read_run(folder))
    assert read.problems == (f"summary.json cannot be read whole: another {part}",)
    assert len(table_of(tmp_path).lines) > 0, "the rest of it is shown"


def test_an_evaluation_of_an_earlier_step_is_told(tmp_path):
    run = write_run(tmp_path / "a", psnr=30.0, own=30.0)
    summary = json.loads((run / "summary.json").read_text()) | {"steps": 80}
    (run / "summary.json").write_text(json.dumps(summary))
    assert "at step 40, the run is at 80" in read_results(runs.read_run(run))[0].problems[0]


def test_configurations_are_compared_key_by_key(tmp_path):
    first = runs.read_run(write_run(tmp_path / "a", loss={"l1": 0.8}, run={"path": "x"}))
    other = runs.read_run(write_run(tmp_path / "b", loss={"l1": 0.8, "leb": 0.1}, seed=3, run={"path": "y"}))
    assert runs.config_diff(first, other) == [("loss.leb", "–", "0.1"), ("seed", "0", "3")]
    assert runs.config_diff(first, first) == []
    assert (first.commit, first.device, first.subject) == ("0123456+", "cpu", "speaker-0")


def test_curves_are_thinned_and_keep_their_ends(tmp_path):
    file = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "loss/total": 1 / step, "lr/means": 1.0}) for step in range(1, 1001)]
    file.write_text("\n".join(lines) + '\n{"step": 1001, "loss/to')
    found = curves.training_curves(file, 50)
    assert list(found) == ["loss/total"]
    steps, values = found["loss/total"]
    assert len(steps) == 50 and (steps[0], steps[-1]) == (1, 1000) and values[-1] == 0.001
    file.write_text('{"step": 1, "loss/total": NaN}\n{"step": 2, "loss/total": 0.5}\n')
    assert curves.training_curves(file, 50) == {"loss/total": ([2], [0.5])}
    assert curves.training_curves(tmp_path / "none", 50) == {}
    bad = [
        "[" * 4000,
        "[1]",
        '{"step": -1, "a": 1}',
        '{"step": 1e400, "a": 1}',
        '{"step": NaN, "a": 1}',
        '{"step": true, "a": 1}',
    ]
    bad += [
        '{"step": 1, "a": 1e400}',
        f'{{"step": 1, "a": 1{"0" * 400}}}',
        '{"step": 1, "\\ud800": 1}',
        '{"step": 1, "a": "3"}',
    ]
    file.write_text("\n".join([*bad, '{"step": 3, "a": 4}']))
    assert curves.training_curves(file, 50) == {"a": ([3], [4])}


def test_a_long_journal_is_read_in_places(tmp_path):
    file = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "loss/total": step * 2.0, "more": "x" * 100}) for step in range(1, 20001)]
    file.write_text("\n".join(lines) + "\n")
    assert file.stat().st_size > curves.WHOLE
    steps, values = curves.training_curves(file, 50)["loss/total"]
    assert 25 <= len(steps) <= 50 and steps == sorted(steps) and (steps[0], steps[-1]) == (1, 20000)
    assert values == [2 * step for step in steps]


def test_columns_of_one_place_share_a_heading():
    found = headings(read_protocol("table6").columns)
    assert [(h.place, len(h.titles)) for h in found] == [
        ("full frame", 3), ("head and neck", 2), ("mouth", 2), ("hands", 2),
    ]  # fmt: skip
    assert found[1].titles == ("PSNR", "LPIPS x100")


@pytest.mark.parametrize("name", [name for name in names("protocol") if paper_file(name)])
def test_every_papers_figures_make_a_table(name):
    content = json.loads(paper_file(name).read_text())
    table = read_paper(paper_file(name), name, read_protocol(name))
    own = {key for key, value in content.items() if isinstance(value, list)} - {"subjects", "columns", "claims"}
    assert len(table.labels) == len(own) and table.subjects[-1] == content["subjects"][-1]
    assert "reported" in table.title and all(line.origin == "reported" for line in table.lines)
    known = {column.key for column in read_protocol(name).columns}
    assert {column.key for column in table.columns} <= known, "a title of paper.json is not the protocol's"


def test_the_papers_figures_stand_as_they_are_in_the_file():
    table = read_paper(paper_file("table6"), "table6", read_protocol("table6"))
    assert table.line("full", "Trading").cells[0].value == 26.157
    assert table.line("full", "mean of 4").cells[0].value == pytest.approx((26.157 + 30.021 + 29.342 + 27.754) / 4)
    assert table.line("full", "Trading").cells[0].best and not table.line("vanilla", "Trading").cells[0].best
    ground_truth = read_paper(paper_file("table4"), "table4", read_protocol("table4")).line(TRUTH, "Fah")
    assert [cell.value for cell in ground_truth.cells] == [-3.0, 7.1, 8.79] and not any(
        c.best for c in ground_truth.cells
    )
    speed = read_paper(paper_file("table3"), "table3", read_protocol("table3"))
    assert speed.line("GART", "mean of 4").cells[-1].value == 158 and speed.line("GART", "Fah").cells[-1].value is None


def test_wrong_figures_are_a_users_mistake(tmp_path):
    file = tmp_path / "paper.json"
    file.write_text('{"source": "x", "subjects": ["a"], "columns": ["PSNR"], "full": [[1.0, 2.0]]}')
    with pytest.raises(UserError, match="2 numbers of full, a"):
        read_paper(file, "t", PROTOCOL)


def test_latex_has_the_cells_of_the_table(tmp_path):
    write_run(tmp_path / "full-0", psnr=30.0)
    write_run(tmp_path / "full-1", seed=1, psnr=31.0)
    write_run(tmp_path / "saam-0", "thgs_wo_saam", psnr=29.0)
    text = to_latex([table_of(tmp_path)])
    assert r"\toprule" in text and r"\bottomrule" in text
    assert r"full & \textbf{30.50} {\scriptsize $\pm$ 0.71} & " in text and "$^{[1]}$" in text
    rows = [line for line in text.splitlines() if re.match(r"(w/o|full)", line)]
    assert {row.count("&") for row in rows} == {len(PROTOCOL.columns)}
    assert text.count("{") == text.count("}")
    assert escaped("a_b 5% ±") == r"a\_b 5\% $\pm$"
