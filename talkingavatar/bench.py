"""`python -m talkingavatar.bench raster | stream | sweep`: how fast it draws, hears and oversees runs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from talkingavatar.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Parse, run one benchmark, print its table; the exit code."""
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
    stream = benches.add_parser("stream", help="delay and speed of a driver that hears speech as it comes")
    stream.add_argument("--run", type=Path, help="of a fit with a driver, whose avatar is drawn, too")
    stream.add_argument(
        "--chunks", type=_positive, nargs="+", default=[20, 40, 100], metavar="MS", help="of sound that come at once"
    )
    stream.add_argument("--seconds", type=_positive, default=20, metavar="S", help="of speech")
    sweep = benches.add_parser("sweep", help="seconds of report, status and submission of many (synthetic) runs")
    sweep.add_argument("--runs", type=_positive, default=1000, metavar="N")
    sweep.add_argument("--pictures", type=int, default=0, metavar="N", help="of each run")
    for bench in (raster, stream, sweep):
        bench.add_argument("--out", type=Path, help="also write the figures as JSON")
    given = parser.parse_args(arguments)
    try:
        rows = {"raster": _raster, "stream": _stream, "sweep": _sweep}[given.bench](given)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(rows, indent=1) + "\n")
        print(f"figures: {given.out}")
    return 0


def _raster(given: argparse.Namespace) -> list[dict[str, Any]]:
    from talkingavatar.splatting.bench import bench_raster

    return bench_raster(given.counts, given.sizes, given.mode, given.device, given.repeats, not given.no_plain)


def _stream(given: argparse.Namespace) -> list[dict[str, Any]]:
    from talkingavatar.engine.driver_bench import bench_stream

    return bench_stream(given.run, given.chunks, given.seconds)


def _sweep(given: argparse.Namespace) -> list[dict[str, Any]]:
    from talkingavatar.launch.bench import bench_sweep

    return bench_sweep(given.runs, given.pictures)


def _positive(text: str) -> int:
    """A whole number above 0."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
