import csv
import io
import json

import pytest

from talkingavatar.config.protocol import TRUTH, Column, Protocol, Row, names, read_condition, read_protocol
from talkingavatar.errors import UserError
from talkingavatar.tables.formats import to_csv, to_json, to_markdown
from talkingavatar.tables.table import build_table

PROTOCOL = Protocol(
    "a table",
    [Column("PSNR", "full/psnr"), Column("LPIPS x100", "full/lpips_alex", 3, 100.0, "low"), Column("AO", "sync/ao", 0)],
    [Row("w/o SAAM", "thgs_wo_saam"), Row("full", "thgs_full"), Row("silenced", "thgs_full", "silent")],
    truth=True,
)


def result(experiment, psnr, lpips=0.05, condition="full", seed=0, subject="anna", suite=2, family="thgs", **more):
    return {
        "experiment": experiment, "family": family, "condition": condition, "seed": seed, "subject": subject,
        "suite": suite, "metrics": {"full/psnr": psnr, "full/lpips_alex": lpips},
        "skipped": {"sync": "no syncnet_v2.model in /x"}, "commit": "abc", "device": "cpu",
        "truth": {"metrics": {}, "skipped": {"sync": "no syncnet_v2.model in /x"}},
        "split": {"count": 9}, "backbones": {"lpips_alex": {"file": "a.pth", "sha256": "0123456789abcdef"}}, **more,
    }  # fmt: skip


def test_rows_take_their_results_and_seeds_are_averaged():
    results = [result("thgs_full", 30.0), result("thgs_full", 32.0, seed=1), result("thgs_wo_saam", 29.0),
               result("thgs_full", 10.0, condition="silent")]  # fmt: skip
    table = build_table("t", PROTOCOL, results)
    line = table.line("full", "anna")
    assert line.seeds == (0, 1) and line.cells[0].value == 31.0
    assert line.cells[0].spread == pytest.approx(2**0.5)
    assert line.cells[1].value == pytest.approx(5.0)  # x 100
    assert table.line("silenced", "anna").cells[0].value == 10.0
    assert table.labels == (TRUTH, "w/o SAAM", "full", "silenced")


def test_the_best_is_marked_in_the_right_direction():
    table = build_table("t", PROTOCOL, [result("thgs_full", 30.0, 0.04), result("thgs_wo_saam", 31.0, 0.05)])
    best = {line.label: [cell.best for cell in line.cells[:2]] for line in table.lines if line.label != TRUTH}
    assert best == {"full": [False, True], "w/o SAAM": [True, False]}


def test_a_cell_without_a_number_says_why_in_every_format():
    table = build_table("t", PROTOCOL, [result("thgs_full", 30.0)])
    why = "no syncnet_v2.model in /x"
    text = to_markdown(table)
    assert "skipped [" in text and why in text
    assert "compares with the ground truth" in text
    rows = list(csv.DictReader(io.StringIO(to_csv([table]))))
    assert {row["skipped"] for row in rows if row["metric"] == "sync/ao"} == {why}
    lines = json.loads(to_json([table]))[0]["lines"]
    assert lines[-1]["cells"]["sync/ao"] == {"value": None, "skipped": why}


def test_markdown_has_a_block_for_each_subject_and_names_missing_runs():
    results = [result("thgs_full", 30.0), result("thgs_wo_saam", 29.0), result("thgs_full", 25.0, subject="bert")]
    text = to_markdown(build_table("t", PROTOCOL, results))
    assert "| anna | full |" in text and "| bert | full |" in text and "no such run" in text
    widths = {line.count(" | ") for line in text.splitlines() if line.startswith("|")}
    assert widths == {1 + len(PROTOCOL.columns)}


def test_an_experiment_no_row_names_has_rows_of_its_own():
    """`motion` is a family of its own, whatever the names of others begin with."""
    other = {"experiment": "motion_latent_full", "family": "motion_latent"}
    results = [result("thgs_full", 30.0), result(psnr=28.0, **other), result(psnr=20.0, condition="silent", **other)]
    table = build_table("t", PROTOCOL, results)
    assert table.labels == (TRUTH, "full", "motion_latent_full, full", "motion_latent_full, silent")
    assert table.line("motion_latent_full, silent", "anna").cells[0].value == 20.0
    # One of a family that the table knows does not.
    assert build_table("t", PROTOCOL, [result("thgs_full", 30.0), result("thgs_x", 1.0)]).labels == (TRUTH, "full")
    motion = Protocol("m", PROTOCOL.columns, [Row("motion", "motion_full"), Row("full", "thgs_full")])
    assert build_table("t", motion, results).labels == ("full", "motion_latent_full, full")
    pattern = Protocol("p", PROTOCOL.columns, [Row("", "thgs_wo_*")])
    assert [row.label for row in pattern.rows_for([("thgs_full", "thgs"), ("thgs_wo_leb", "thgs")])] == ["thgs_wo_leb"]


def test_mixed_suite_versions_are_told():
    results = [result("thgs_full", 30.0), result("thgs_wo_saam", 29.0, suite=1)]
    assert "MIXED SUITE VERSIONS 1 and 2" in to_markdown(build_table("t", PROTOCOL, results))
    assert "MIXED" not in to_markdown(build_table("t", PROTOCOL, results[:1]))


def test_a_row_without_a_label_is_named_after_its_experiment():
    table = build_table("t", Protocol("x", PROTOCOL.columns), [result("a", 1.0), result("b", 2.0)])
    assert table.labels == ("a", "b")


@pytest.mark.parametrize("name", names("protocol"))
def test_every_protocol_is_a_table(name):
    protocol = read_protocol(name)
    assert protocol.columns and protocol.conditions
    for condition in protocol.conditions:
        assert read_condition(condition).about


def test_the_papers_conditions():
    assert set(read_condition("silent").silence) == {"audio", "expression"}
    assert read_protocol("table3").conditions == ["silent"]
    assert {"full", "wo_audio", "wo_expression"} <= set(read_protocol("table4").conditions)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("silence: [smell]", "some of audio"),
        ("reference: teacher", "one of captured, true"),
        ("driver: ridge", "spoken: true"),
        ("samples: 0", "expected 1 to"),
        ("layers: [base]", "not in 'Condition'"),
    ],
)
def test_a_wrong_condition_is_refused(text, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("TALKINGAVATAR_CONF", str(tmp_path))
    file = tmp_path / "evaluate" / "condition" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(UserError, match=expected):
        read_condition("mine")


def test_rows_of_several_conditions_are_told_apart():
    rows = read_protocol("driver").rows_for([("audio2param", "audio2param")])
    assert [row.label for row in rows] == ["audio2param, spoken", "audio2param, ridge"]


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UserError, match="did you mean table3"):
        read_protocol("tabel3")


def test_a_video_from_elsewhere_has_one_row_whatever_the_conditions():
    protocol = read_protocol("table3")
    label = "theirs [v2]*"
    runs = [("thgs_full", "thgs"), (label, "external")]
    rows = [row for row in protocol.rows_for(runs) if row.condition == "shown"]
    assert [row.label for row in rows] == [f"{label} (external)"]
    assert protocol.conditions_for(label, "external") == ["shown"] and "shown" not in protocol.conditions
    told = {"external": {"told": ["3 frames late, moved back"]}, "seed": 0, "suite": 2, "subject": "me"}
    result = {**told, "experiment": label, "family": "external", "condition": "shown", "metrics": {"full/psnr": 30.0}}
    table = build_table("table3", protocol, [result])
    assert f"{label}, me, external: 3 frames late, moved back" in table.notes
    (line,) = [line for line in table.lines if line.label != "ground truth"]
    assert any(cell.value == 30.0 for cell in line.cells)
