"""The report as a command, and its page in a real browser."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from talkingavatar import report
from tests.behaviour.test_mistakes import refused
from tests.browser import Browser, executable
from tests.conftest import cold
from tests.tables.test_report import write_run

FRAMES = 25  # of a test video, one second
EXPERIMENTS = ("thgs_full", "thgs_wo_saam", "thgs_wo_leb")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    """Six measured runs with curves, pictures and videos; one that failed, one under way."""
    folder = tmp_path_factory.mktemp("sweep")
    for place, experiment in enumerate(EXPERIMENTS):
        for seed in (0, 1):
            run = write_run(folder / f"{experiment}-{seed}", experiment, seed=seed, psnr=30.0 + place + seed)
            rows = ({"step": step, "loss/total": 1 / step, "preview/psnr": 20 + step} for step in range(1, 30))
            (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            fill_media(run / "media", 40 * place + 20)
    write_run(folder / "thgs_wo_joint-0", "thgs_wo_joint", state="failed")
    write_run(folder / "thgs_wo_joint-1", "thgs_wo_joint", seed=1, identity=1, state="running")
    return folder


def fill_media(folder, grey):
    from talkingavatar.engine.media.writer import VideoWriter

    folder.mkdir()
    Image.new("RGB", (2000, 40), (grey, 0, 0)).save(folder / "contact_sheet.png")
    (folder / "half_written.png").write_bytes(b"\x89PNG")
    sound = 0.1 * np.sin(np.arange(16000) * 0.1, dtype=np.float32)
    with VideoWriter(folder / "side_by_side.mp4", 25.0, sound) as video:
        for frame in range(FRAMES):
            video.write(np.full((64, 96, 3), min(255, grey + 4 * frame), np.uint8))


@pytest.fixture(scope="module")
def page(sweep, cache) -> Path:
    out = sweep / "review" / "page.html"
    arguments = [f"sweep={sweep}", f"out={out}", "protocol=overview,table6"]
    done = cold("report", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"report: {out}"
    return out


@pytest.fixture(scope="module")
def browser(page, tmp_path_factory):
    if executable() is None:
        pytest.skip("no Chromium on the PATH")
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        browser.open(page.as_uri())
        yield browser


def choose(browser, name, value):
    browser.run(
        f"(() => {{ const s = document.querySelector('[data-filter={name}]'); s.value = '{value}';"
        " s.dispatchEvent(new Event('change')); })()"
    )


def texts(browser, selector) -> list[str]:
    return browser.run(f"[...document.querySelectorAll('{selector}')].filter(e => !e.hidden).map(e => e.innerText)")


def test_the_text_files_hold_the_same_tables(page):
    rows = list(csv.DictReader(page.with_suffix(".csv").open()))
    full = next(r for r in rows if (r["table"], r["row"], r["metric"]) == ("table6", "full", "full/psnr"))
    assert (full["value"], full["seeds"], full["subject"]) == ("30.5", "0 1", "speaker-0")
    assert any(r["table"] == "table6 reported" and r["value"] == "26.157" for r in rows)
    assert "failed: RuntimeError: out of memory" in page.with_suffix(".md").read_text()
    assert r"\toprule" in page.with_suffix(".tex").read_text()


def test_the_page_needs_nothing_else(page):
    text = page.read_text()
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "https://" not in text
    assert '<link rel="' not in text and "<script src" not in text


def test_it_never_imports_torch(sweep, tmp_path):
    code = (
        "import sys\nfrom talkingavatar.report import main\n"
        f"assert main(['sweep={sweep}', 'out={tmp_path / 'page.html'}']) == 0\n"
        "heavy = {'torch', 'lightning', 'gsplat', 'wandb', 'matplotlib', 'numba', 'av'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_tables_are_drawn_with_best_and_reasons(browser):
    assert not browser.errors
    best = texts(browser, "#tables .pair:nth-of-type(2) .measured .best")
    assert any(text.startswith("32.50") and "±0.71" in text for text in best)
    assert "THGS, table 6, as reported" in " ".join(texts(browser, "#tables figcaption"))
    why = browser.run("document.querySelector('#tables .measured td.none[title^=failed]').title")
    assert why == "failed: RuntimeError: out of memory (thgs_wo_joint-0)"
    assert any("out of memory" in text for text in texts(browser, "#tables .why"))
    folded = "getComputedStyle(document.querySelector('.reported .fold')).display"
    assert browser.run(folded) == "none"
    browser.run("document.querySelector('.unfold').click()")
    assert browser.run(folded) == "table-row-group"


def test_filters_choose_runs_curves_and_videos(browser):
    assert len(texts(browser, ".runs > tbody > tr")) == 8
    choose(browser, "experiment", "thgs_full")
    choose(browser, "seed", "1")
    rows = texts(browser, ".runs > tbody > tr")
    assert len(rows) == 1 and "thgs_full-1" in rows[0]
    browser.run("document.getElementById('curves').scrollIntoView({behavior: 'instant'})")
    browser.run("new Promise(done => setTimeout(done, 300))")
    assert texts(browser, "#curves h3") == ["loss/total", "preview/psnr"]
    assert browser.run("document.querySelectorAll('#curves .chart:first-child path').length") == 1
    choose(browser, "experiment", "")
    choose(browser, "seed", "")
    choose(browser, "status", "failed")
    assert "out of memory" in texts(browser, ".runs > tbody > tr")[0]
    assert texts(browser, "#videos .grid p") == ["None of the ticked runs has any."]
    choose(browser, "status", "")


def test_a_long_sweep_is_folded_by_experiment(cache, tmp_path):
    if executable() is None:
        pytest.skip("no Chromium on the PATH")
    for seed in range(21):
        for experiment in EXPERIMENTS[:2]:
            state = "failed" if (experiment, seed) == ("thgs_full", 3) else "finished"
            write_run(tmp_path / "long" / f"{seed}-{experiment}", experiment, seed=seed, state=state)
    assert report.main([f"sweep={tmp_path / 'long'}", "protocol=table6"]) == 0
    with Browser(tmp_path / "profile") as browser:
        browser.open((tmp_path / "long" / "report.html").as_uri())
        full, other = texts(browser, ".runs > tbody > tr")
        assert full.split("\n")[-1].endswith("21 runs: 20 finished, 1 failed") and "21 runs: 21 finished" in other
        browser.run("document.querySelector('.group button').click()")
        shown = texts(browser, ".runs > tbody > tr")
        assert len(shown) == 1 + 21 + 1 and all("thgs_full" in text for text in shown[:22])
        choose(browser, "seed", "3")
        shown = texts(browser, ".runs > tbody > tr")
        assert len(shown) == 4 and "out of memory" in shown[1] and "1 runs: 1 finished" in shown[2]
        assert not browser.errors


def test_configurations_are_compared_with_a_chosen_run(browser):
    browser.run("(() => { against.value = 1; against.dispatchEvent(new Event('change')); })()")
    diff = browser.run("[...document.querySelectorAll('.runs .diff summary')].map(e => e.textContent)")
    assert diff[0] == "seed" and diff[1] == "itself" and "experiment" in diff[2]
    browser.run("(() => { const d = document.querySelector('.runs .diff details'); d.open = true; })()")
    browser.run("new Promise(done => setTimeout(done, 100))")
    assert "seed 1 0" in " ".join(texts(browser, ".runs .diff details table")[0].split())


def test_sync_curves_are_drawn(browser):
    browser.run("document.getElementById('sync').scrollIntoView({behavior: 'instant'})")
    browser.run("new Promise(done => setTimeout(done, 300))")
    assert browser.run("document.querySelectorAll('#sync .chart path').length") == 6


def test_numbers_of_an_axis_differ(browser):
    for values in ([0.1121, 0.1122, 0.1123], [12001, 12002], [1, 2, 3], [0.5, 1e-7]):
        shown = browser.run(f"labels({values})")
        assert len(set(shown)) == len(values) and all(len(text) <= 7 for text in shown)


def test_a_curve_of_one_point_is_a_dot(browser):
    one = "{label: 'a', colour: '#000', dash: '', curve: [[2], [0.5]]}"
    shapes = (
        f"(() => {{ const host = document.createElement('div'); draw(host, 'step', [{one}], false, false);"
        " return [host.querySelectorAll('path').length, host.querySelectorAll('circle[fill=\"#000\"]').length]; })()"
    )
    assert browser.run(shapes) == [0, 1]


def test_videos_play_and_seek_on_one_clock(browser):
    ready = "wall.videos.length && wall.videos.every(video => video.readyState >= 2)"
    wait = f"new Promise(done => {{ const look = () => {ready} ? done() : setTimeout(look, 50); look(); }})"
    browser.run("document.getElementById('videos').scrollIntoView({behavior: 'instant'})")
    browser.run(wait)
    assert texts(browser, "#videos .grid h3") == ["thgs_full-0", "thgs_wo_leb-0", "thgs_wo_saam-0"]
    ticked = "document.querySelectorAll('.runs input')[1].click()"
    browser.run(ticked)
    browser.run(wait)
    assert len(texts(browser, "#videos .grid h3")) == 4
    browser.run("wall.seek.value = 0.6, wall.seek.dispatchEvent(new Event('input'))")
    times = browser.run("wall.videos.map(video => video.currentTime)")
    assert times == pytest.approx([0.6 * browser.run("wall.length()")] * 4, abs=0.01)
    browser.run("wall.step(-1)")
    assert browser.run("wall.now()") == pytest.approx(times[0] - 0.04, abs=0.005)
    browser.run("wall.goto(0), wall.play.click()")
    browser.run("new Promise(done => { const look = () => wall.playing ? setTimeout(look, 30) : done(); look(); })")
    ends = browser.run("wall.videos.map(video => video.currentTime)")
    assert min(ends) > 0.85, "all came to their end"
    assert max(ends) - min(ends) < 0.1
    assert browser.run("wall.videos.map(video => video.muted)") == [False, True, True, True]


def test_pictures_are_embedded_small(browser):
    wide = (
        "Promise.all([...document.querySelectorAll('#pictures img')].map(i => (i.loading = 'eager', i.decode()))).then("
    )
    wide += "() => [...document.querySelectorAll('#pictures img')].map(i => i.naturalWidth))"
    assert set(browser.run(wide)) == {1600}
    assert not browser.errors


def test_what_does_not_fit_is_linked(command, sweep, tmp_path):
    done = command("report", f"sweep={sweep}", f"out={tmp_path / 'page.html'}", "embed=0")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "page.html").read_text()
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    links = {medium["href"] for medium in data["media"]}
    assert all((tmp_path / link).is_file() for link in links)
    assert sum(link.endswith("side_by_side.mp4") for link in links) == 6


def test_names_cannot_break_out_of_the_page(command, tmp_path):
    run = write_run(tmp_path / "runs" / "a<b>", "x</script><script>alert(1)</script>", psnr=1.0)
    done = command("report", f"run={run}", f"out={tmp_path / 'page.html'}", "title=<i>&")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in text and "<title>&lt;i&gt;&amp;</title>" in text


def test_a_sweep_that_has_not_started_everything(command, tmp_path):
    folder = tmp_path / "sweep"
    write_run(folder / "a", psnr=30.0)
    jobs = [{"name": "a", "overrides": ["experiment=thgs_full"]},
            {"name": "b", "overrides": ["experiment=thgs_wo_leb", "data.identity=0", "seed=4"]}]  # fmt: skip
    (folder / "sweep.json").write_text(json.dumps({"name": "sweep", "jobs": jobs}))
    done = command("report", f"sweep={folder}", "protocol=table6")
    assert done.returncode == 0, done.stderr
    assert "waiting (b)" in (folder / "report.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "run, sweep: found nothing"),
        (["run={run}", "sweep={sweep}"], "found both"),
        (["run=nowhere"], "no such folder"),
        (["run={sweep}"], "a folder without config.yaml"),
        (["sweep=nowhere"], "no such folder"),
        (["sweep={run}"], "no run in it"),
        (["run={run}", "protocol=tabel3"], "did you mean table3"),
        (["run={run}", "out=page"], "ends in .html"),
        (["run={run}", "out={run}/config.yaml/page.html"], "a file that can be written"),
        (["run={run}", "embed=some"], "a whole number"),
        (["run={run}", "protocl=table3"], "did you mean protocol"),
    ],
)
def test_a_mistake_is_one_clear_line(command, sweep, arguments, expected):
    given = [text.format(run=sweep / "thgs_full-0", sweep=sweep) for text in arguments]
    refused(command("report", *given), expected)
