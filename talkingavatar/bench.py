"""`python -m talkingavatar.bench raster | sweep`: how fast this machine draws, and how fast many runs are overseen."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def main(arguments: list[str] | None = None) -> None:
    """Parse, run one benchmark, print its table."""
    parser = argparse.ArgumentParser(prog="python -m talkingavatar.bench", description=__doc__)
    benches = parser.add_subparsers(dest="bench", required=True)
    raster = benches.add_parser("raster", help="milliseconds per frame of the rasteriser, against plain torch")
    raster.add_argument(
        "--counts",
        type=_positive,
        nargs="+",
        default=[10_000, 50_000, 200_000],
        metavar="N",
        help="Gaussians",
    )
    raster.add_argument(
        "--sizes", type=_positive, nargs="+", default=[256, 512, 1024], metavar="PX", help="image width"
    )
    raster.add_argument("--mode", nargs="+", choices=["3dgs", "2dgs"], default=["3dgs", "2dgs"])
    raster.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    raster.add_argument("--repeats", type=_positive, default=7, help="frames per figure, of which the median is shown")
    raster.add_argument(
        "--no-plain",
        action="store_true",
        help="leave out the plain version, which takes seconds to minutes a case",
    )
    sweep = benches.add_parser("sweep", help="seconds of report, status and submission of many (synthetic) runs")
    sweep.add_argument("--runs", type=_positive, default=1000, metavar="N")
    sweep.add_argument("--pictures", type=int, default=0, metavar="N", help="of each run")
    for bench in (raster, sweep):
        bench.add_argument("--out", type=Path, help="also write the figures as JSON")
    given = parser.parse_args(arguments)
    rows = _raster(given) if given.bench == "raster" else _sweep(given)
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(rows, indent=1) + "\n")
        print(f"figures: {given.out}")


def _raster(given: argparse.Namespace) -> list[dict[str, Any]]:
    from talkingavatar.splatting.bench import bench_raster

    return bench_raster(given.counts, given.sizes, given.mode, given.device, given.repeats, not given.no_plain)


def _sweep(given: argparse.Namespace) -> list[dict[str, Any]]:
    from talkingavatar.launch.bench import bench_sweep

    return bench_sweep(given.runs, given.pictures)


def _positive(text: str) -> int:
    """A whole number above 0."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0")
    return value


if __name__ == "__main__":
    main()
