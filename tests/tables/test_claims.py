"""Claims of papers: read, checked against what there is, and judged by runs."""

import json

import numpy as np
import pytest

from talkingavatar.config.protocol import TRUTH, Column, Protocol, Row, names, read_protocol
from talkingavatar.errors import UserError
from talkingavatar.metrics.result_file import read_result
from talkingavatar.report import main
from talkingavatar.runtime.readers import Unreadable
from talkingavatar.tables.cells import table_html
from talkingavatar.tables.claims import FAILS, HOLDS, UNKNOWN, read_claims
from talkingavatar.tables.formats import to_json, to_markdown
from talkingavatar.tables.paper import paper_file
from talkingavatar.tables.table import build_table, replace
from talkingavatar.tables.verdicts import judged, verdicts
from tests.tables.test_report import write_run

PROTOCOL = Protocol(
    "modules",
    [Column("PSNR", "full/psnr", about="decibels"), Column("LPIPS x100", "full/lpips_alex", 3, 100.0, "low"),
     Column("Conf", "sync/conf")],
    [Row("w/o SAAM", "thgs_wo_saam"), Row("full", "thgs_full")],
    truth=True,
)  # fmt: skip
FRAMES = list(range(250))


def claim(order="full > w/o SAAM", metric="full/psnr", **more):
    return {"name": "SAAM", "says": "better with it", "order": order, "metric": metric, **more}


@pytest.fixture
def given(tmp_path):
    """Reads claims as they would stand in a paper's file."""

    def read(*claims):
        file = tmp_path / "paper.json"
        figures = {"source": "x", "subjects": ["a"], "columns": ["PSNR"], "full": [[30.0]], "RAD-NeRF": [[29.0]]}
        file.write_text(json.dumps(figures | {"claims": list(claims)}))
        return read_claims(file, PROTOCOL)

    return read


def result(experiment, psnr, seed=0, subject="anna", conf=None, kept=True, **more):
    """`psnr` of each frame, or of all of them."""
    grain = np.random.default_rng([seed, *experiment.encode()]).normal(0, 0.05, len(FRAMES))
    values = (np.array(psnr) + grain).tolist()
    metrics = {"full/psnr": sum(values) / len(values)} | ({} if conf is None else {"sync/conf": conf})
    return {
        "experiment": experiment, "family": "thgs", "condition": "full", "seed": seed, "subject": subject, "suite": 2,
        "metrics": metrics, "skipped": {"sync": "no syncnet"}, "frames": FRAMES, "split": {"count": 250},
        "per_frame": {"full/psnr": values} if kept else {}, "truth": {"metrics": {"sync/conf": 5.0}, "skipped": {}},
        "backbones": {}, "commit": "abc", "device": "cpu", **more,
    }  # fmt: skip


def four(experiment, psnr, apart=(0.0, 0.02, 0.05, 0.03), **more):
    """Two people, two seeds."""
    people = [("anna", 0), ("anna", 1), ("bert", 0), ("bert", 1)]
    return [result(experiment, psnr + d, s, who, **more) for d, (who, s) in zip(apart, people, strict=True)]


def test_a_claim_holds_or_fails_by_runs_and_by_blocks_of_video(given):
    (said,) = given(claim())
    better, worse = four("thgs_full", 31.0), four("thgs_wo_saam", 30.0, (0.03, 0.0, 0.02, 0.02))
    found = judged(said, PROTOCOL, better + worse)
    assert found.verdict == HOLDS and found.people == 2 and found.runs.count == 4
    assert found.runs.mean == pytest.approx(1.0, abs=0.02)
    assert found.blocks.count >= 16 and found.blocks.mean == pytest.approx(found.runs.mean)
    assert found.blocks.p < 1e-4 and found.runs.p < 1e-3
    (reverse,) = given(claim("w/o SAAM > full"))
    assert judged(reverse, PROTOCOL, better + worse).verdict == FAILS
    (below,) = given(claim("w/o SAAM < full"))
    assert judged(below, PROTOCOL, better + worse).verdict == HOLDS


def test_what_cannot_be_told_says_why(given):
    (said,) = given(claim())

    def told(*results, of=said):
        found = judged(of, PROTOCOL, list(results))
        assert found.verdict == UNKNOWN
        return found.why

    full, saam = four("thgs_full", 31.0), four("thgs_wo_saam", 30.0, (0.0, 1.9, 2.4, -0.5))
    assert told(*full) == "w/o SAAM: no such run"
    assert told(*full, *saam) == "the difference is within the spread of 4 pairs of runs"
    assert "one pair of runs" in told(full[0], saam[0])
    assert told(full[0], saam[2]) == "the two rows were not measured of the same person"
    # A single moment of the video decides; the runs agree on it.
    flash = np.where(np.isin(FRAMES, [100, 101, 102]), 70.0, 30.0)
    moment = [result("thgs_full", flash, s) for s in range(4)]
    assert (
        told(*moment, *(result("thgs_wo_saam", 30.0, s) for s in range(4))) == "runs agree, parts of the video do not"
    )
    fewer = {**saam[1], "frames": FRAMES[:100]}
    assert told(*full, saam[0], fewer) == "anna: frames differ: evaluate all runs alike"
    (sync,) = given(claim(metric="sync/conf"))
    assert told(*full, *four("thgs_wo_saam", 30.0), of=sync) == "full: no syncnet"
    own = {**saam[0], "origin": "summary", "why": "not evaluated"}
    assert told(*full, own) == "w/o SAAM: not evaluated"
    (others,) = given(claim("full > RAD-NeRF"))
    assert told(*full, of=others) == "RAD-NeRF: no such run"


def test_without_values_of_frames_runs_alone_are_counted(given):
    (said,) = given(claim(f"{TRUTH} > full", "sync/conf"))
    runs = [result("thgs_full", 30.0, s, who, conf=4.0 + 0.01 * s) for s in range(3) for who in ("anna", "bert")]
    found = judged(said, PROTOCOL, runs)
    assert found.verdict == HOLDS and found.blocks is None and found.runs.mean == pytest.approx(0.99)
    alone = judged(said, PROTOCOL, runs[::2])
    assert alone.verdict == UNKNOWN and "one person" in alone.why and alone.runs.certain
    (said,) = given(claim())
    old = four("thgs_full", 31.0, kept=False) + four("thgs_wo_saam", 30.0, (0.03, 0.0, 0.02, 0.02))
    assert judged(said, PROTOCOL, old).blocks is None


def test_anothers_video_is_a_row_by_its_label(given):
    (said,) = given(claim("full > RAD-NeRF"))
    their = {"family": "external", "condition": PROTOCOL.rows_for([("RAD-NeRF", "external")])[-1].condition}
    theirs = [result("RAD-NeRF", 29.0, 7, who, **their) for who in ("anna", "bert")]
    found = judged(said, PROTOCOL, four("thgs_full", 31.0) + theirs)
    assert found.verdict == HOLDS and found.runs.count == 2, "seeds that they do not share are one pair a person"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (claim("full > w/o SAM"), "unknown row 'w/o SAM'.*did you mean w/o SAAM"),
        (claim(metric="full/pnsr"), "unknown metric 'full/pnsr'.*did you mean full/psnr"),
        (claim("full beats w/o SAAM"), "one row > another"),
        (claim(paper="full > w/o SAAM"), r"paper: found an unknown row 'w/o SAAM'"),
        (claim(better=1), "expected name, says, order"),
        (claim(says=1), "a text"),
        ("full > w/o SAAM", "expected name, says, order"),
    ],
)
def test_a_wrong_claim_is_refused_in_one_line(wrong, told, given):
    with pytest.raises(UserError, match=told) as error:
        given(claim(), wrong)
    assert "claims[1]" in str(error.value) and "\n" not in str(error.value)


def test_a_report_with_a_wrong_claim_ends_with_a_line(tmp_path, monkeypatch, capsys):
    write_run(tmp_path / "runs" / "full", psnr=30.0)
    file = tmp_path / "experiments" / "table6" / "paper.json"
    file.parent.mkdir(parents=True)
    content = json.loads(paper_file("table6").read_text())
    file.write_text(json.dumps(content | {"claims": [claim("full > nobody")]}))
    monkeypatch.chdir(tmp_path)
    assert main([f"sweep={tmp_path / 'runs'}", "protocol=table6"]) == 2
    said = capsys.readouterr().err.strip()
    assert "unknown row 'nobody'" in said and said.count("\n") == 0


@pytest.mark.parametrize("name", [name for name in names("protocol") if paper_file(name)])
def test_papers_claim_what_their_figures_say(name):
    found = verdicts(name, read_protocol(name), [])
    assert found and all(verdict.verdict == UNKNOWN and verdict.why for verdict in found)
    wrong = [verdict.claim for verdict in found if verdict.reported is not None and verdict.reported <= 0]
    assert not wrong, "a claim against the paper's own figures"


def test_pages_and_texts_show_verdicts(given):
    (said,) = given(claim(paper="full > RAD-NeRF"))
    results = four("thgs_full", 31.0) + four("thgs_wo_saam", 30.0, (0.03, 0.0, 0.02, 0.02))
    table = build_table("t", PROTOCOL, results)
    table = replace(table, verdicts=(replace(judged(said, PROTOCOL, results), reported=1.0),))
    text = to_markdown(table)
    row = next(line for line in text.splitlines() if line.startswith("| SAAM: better with it"))
    assert "| full > w/o SAAM in full frame PSNR | holds | +1.000 | +1.0" in row and "4, 2 people" in row
    assert "of 1 orderings 1 holds, 0 fails, 0 cannot tell" in text
    page = table_html(table, "measured")
    assert 'class="verdict holds"' in page and "<dt>full frame PSNR</dt><dd>decibels</dd>" in page
    (told,) = json.loads(to_json([table]))[0]["claims"]
    assert told["verdict"] == HOLDS and told["blocks"]["count"] >= 16 and told["reported"] == 1.0


def test_values_of_frames_are_as_many_as_frames(tmp_path):
    file = write_run(tmp_path / "run", psnr=30.0) / "evaluation" / "full.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"per_frame": {"full/psnr": [30.0, None] + [29.0] * 7}}))
    assert read_result(file)["per_frame"]["full/psnr"][1] is None
    for wrong in ([30.0], [30.0] * 8 + ["x"], 3):
        file.write_text(json.dumps(content | {"per_frame": {"full/psnr": wrong}}))
        with pytest.raises(Unreadable, match="per_frame"):
            read_result(file)
