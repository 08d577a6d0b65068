"""How long the commands for many runs take: a sweep of synthetic run directories, and a process for each command."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from talkingavatar.config.compose import compose, to_yaml
from talkingavatar.launch.expansion import Job, expand
from talkingavatar.launch.folder import SweepFolder
from talkingavatar.launch.sweep_file import read_sweep
from talkingavatar.runtime.progress import ProgressBar

EXPERIMENTS = ("thgs_full", "thgs_wo_saam", "thgs_wo_leb", "thgs_wo_joint", "thgs_vanilla")
REGIONS = ("full", "matte", "head", "mouth", "hands", "left_hand", "right_hand")
STEPS = 1200  # of a run; one in 20 is in its journal
HEAVY = ("torch", "lightning", "wandb")  # what none of the commands may import
SWEEP = """program: talkingavatar.fit
method: grid
parameters:
  experiment: {{values: [{experiments}]}}
  seed: {{values: [{seeds}]}}
command: ["${{env}}", "${{interpreter}}", -m, "${{program}}", "${{args_no_hyphens}}"]
"""
PROGRAM = """import sys
from talkingavatar.{command} import main
code = main(sys.argv[1:])
print("imported:", *sorted({heavy} & sys.modules.keys()), file=sys.stderr)
sys.exit(code)
"""


def bench_sweep(count: int, pictures: int) -> list[dict[str, Any]]:
    """Seconds of report, status and a dry submission of so many runs; shown as a table.

    Args:
        count: of runs.
        pictures: of each run.

    Returns:
        A dict a command: command, runs, pictures, wall_s, cpu_s, imported (heavy packages; none is right).
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, sweep = make_sweep(folder, count, pictures)
        commands = {
            "report": ("report", [f"sweep={sweep}"]),
            "status": ("sweep", ["status", str(sweep)]),
            "submission (dry)": ("sweep", [str(file), "dry=true", "launcher=slurm", "name=another"]),
        }
        rows = [_measure(title, *command, folder) for title, command in commands.items()]
    rows = [row | {"runs": count, "pictures": pictures} for row in rows]
    _show(rows)
    return rows


def make_sweep(folder: Path, count: int, pictures: int) -> tuple[Path, Path]:
    """A sweep file and its folder: half of the runs finished and evaluated, the rest running, failed or waiting."""
    file = folder / "many.yaml"
    seeds = ", ".join(map(str, range(-(-count // len(EXPERIMENTS)))))
    file.write_text(SWEEP.format(experiments=", ".join(EXPERIMENTS), seeds=seeds))
    sweep, target = read_sweep(file), SweepFolder(folder / "runs" / "many")
    jobs = expand(sweep, count, limit=count)
    target.freeze(sweep, jobs, {"version": "", "commit": None, "dirty": None}, force=False)
    config = to_yaml(compose([]))
    with ProgressBar("runs", count, show=count >= 100) as bar:
        for number, job in enumerate(jobs):
            _make_run(target, job, number, config, pictures)
            bar.advance()
    return file, target.path


def _make_run(sweep: SweepFolder, job: Job, number: int, config: str, pictures: int) -> None:
    state = ("finished", "running", "finished", "failed", "finished", "preempted", "finished", "waiting")[number % 8]
    if state == "waiting":
        return
    run, draw = sweep.run(job), random.Random(number)
    run.mkdir(parents=True)
    experiment, seed = (text.partition("=")[2] for text in job.overrides)
    config = re.sub(r"(?m)^experiment: .*$", f"experiment: {experiment}", config)
    (run / "config.yaml").write_text(re.sub(r"(?m)^seed: .*$", f"seed: {seed}", config))
    last = STEPS if state == "finished" else STEPS // 2
    status = {"state": state, "step": last, "steps": STEPS, "time": time.time(), "error": "ValueError: synthetic"}
    start = {"command": "python -m talkingavatar.fit", "commit": "0" * 40, "dirty": False, "device": "cpu", "cwd": "/"}
    _write(run / "status.json", status)
    _write(run / "provenance.json", [start])
    rows = ({"step": step} | _logged(step, draw) for step in range(20, last + 1, 20))
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sweep.note_start(job, 1)
    if state != "running":
        sweep.note_exit(job, {"finished": 0, "failed": 1, "preempted": 75}[state])
    if state == "finished":
        _finish(run, experiment, int(seed), draw)
    for picture in range(pictures):
        _draw(run / "media" / f"picture_{picture}.png", draw)


def _logged(step: int, draw: random.Random) -> dict[str, float]:
    losses = {f"loss/{name}": draw.random() / step for name in ("total", "l1", "dssim", "vertex", "normal", "leb")}
    rates = {f"lr/group_{number}": draw.random() for number in range(12)}
    return losses | rates | {"preview/psnr": 20 + 8 * draw.random(), "gaussians": 14e3 + step, "steps_per_s": 10.0}


def _finish(run: Path, experiment: str, seed: int, draw: random.Random) -> None:
    """What the ends of `fit` and `evaluate` leave."""
    measures = {"psnr": 26.0, "ssim": 0.95, "lpips_alex": 0.04}
    numbers = {
        f"{region}/{name}": v * (0.9 + 0.2 * draw.random()) for region in REGIONS for name, v in measures.items()
    }
    own = {f"heldout/{key}": value for key, value in numbers.items()}
    _write(run / "summary.json", {"status": "finished", "wall_s": 500.0, "steps": STEPS, "metrics": own, "skipped": {}})
    lips = {"sync/ao": 0.0, "sync/md": 7 + draw.random(), "sync/conf": 3 * draw.random(), "lmd/mouth_px": draw.random()}
    curve = [list(range(-15, 16)), [7 + draw.random() for _ in range(31)]]
    facts = {
        "experiment": experiment,
        "family": "thgs",
        "seed": seed,
        "subject": "speaker-0",
        "condition": "full",
        "suite": 1,
    }
    facts |= {"commit": "0000000", "device": "cpu", "split": {"count": 120}, "steps": STEPS, "skipped": {}}
    facts |= {"frames": list(range(120)), "backbones": {}}
    facts |= {
        "metrics": numbers | lips,
        "curves": {"sync": curve},
        "truth": {"metrics": lips, "skipped": {}, "curves": {"sync": curve}},
    }
    (run / "evaluation").mkdir()
    _write(run / "evaluation" / "full.json", facts)


def _draw(file: Path, draw: random.Random) -> None:
    """A picture of the size of a contact sheet, and about as hard to compress."""
    from PIL import Image

    file.parent.mkdir(exist_ok=True)
    small = Image.frombytes("RGB", (100, 50), draw.randbytes(15_000))
    small.resize((2048, 1024), Image.Resampling.BICUBIC).save(file, compress_level=1)


def _measure(title: str, command: str, words: list[str], folder: Path) -> dict[str, Any]:
    """One command in a process of its own."""
    program = PROGRAM.format(command=command, heavy=set(HEAVY))
    environment = os.environ | {
        "TALKINGAVATAR_RUNS": str(folder / "runs"),
        "TALKINGAVATAR_CACHE": str(folder / "cache"),
    }
    before, began = os.times(), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, *words], env=environment, capture_output=True, text=True, check=False
    )
    wall, after = time.monotonic() - began, os.times()
    if done.returncode:
        raise RuntimeError(f"{title}: {done.stderr}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    imported = done.stderr.splitlines()[-1].removeprefix("imported:").split()
    return {"command": title, "wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "imported": imported}


def _show(rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"{rows[0]['runs']:,} runs, {rows[0]['pictures']} pictures each")
    for name in ("command", "wall s", "processor s", "heavy imports"):
        table.add_column(name, justify="left" if name in ("command", "heavy imports") else "right")
    for row in rows:
        table.add_row(
            row["command"], f"{row['wall_s']:.2f}", f"{row['cpu_s']:.2f}", ", ".join(row["imported"]) or "none"
        )
    Console().print(table)


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content))
