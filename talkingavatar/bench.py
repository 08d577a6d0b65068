"""Where the time goes, and how much it is: python -m talkingavatar.bench fit | drive | raster | stream | live | sweep

`--against COMMIT` runs the same there and here, in turn, and prints medians and ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from talkingavatar.errors import UserError
from talkingavatar.paths import user_path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see fit

Rows = list[dict[str, Any]]
OWN = ("--against", "--rounds", "--out")  # of every benchmark; what a comparison does not hand on


def main(arguments: list[str] | None = None) -> int:
    """Parse, run one benchmark, print its table; the exit code."""
    from talkingavatar.runtime.command import ended

    words = sys.argv[1:] if arguments is None else arguments
    return ended(lambda: _bench(words))


def _bench(words: list[str]) -> int:
    from talkingavatar.runtime.files import folder_for, write_atomically

    given = _parse(words)
    if given.out is not None:  # found out before the figures are
        folder_for(given.out.absolute().parent, "--out", "choose another place")
        if given.out.is_dir():
            raise UserError("--out", f"{given.out}, a folder", "a file", f"e.g. --out {given.out / 'figures.json'}")
    benches = {"fit": _fit, "drive": _drive, "raster": _raster, "stream": _stream, "live": _live, "sweep": _sweep}
    rows = benches[given.bench](given) if given.against is None else _against(given, words)
    if given.out is not None:
        write_atomically(given.out, json.dumps(rows, indent=1) + "\n")
        print(f"figures: {given.out}")
    return 0


class _Parser(argparse.ArgumentParser):
    """One that tells a mistake as every command does."""

    def error(self, message: str) -> NoReturn:
        """
        Raises:
            UserError: always.
        """
        raise UserError(self.prog.rpartition(".")[2], message, "what --help shows", "see --help")


def _parse(words: list[str]) -> argparse.Namespace:
    """
    Raises:
        UserError: an unknown benchmark or option, the nearest is suggested; or a value that it does not take.
    """
    from talkingavatar.config.names import suggestion

    parser, parts = _parser()
    if words and words[0] not in (*parts, "-h", "--help"):
        raise UserError("bench", repr(words[0]), f"one of {', '.join(parts)}", suggestion(words[0], parts))
    given, unknown = parser.parse_known_args(words)
    if unknown:
        known = [option for action in parts[given.bench]._actions for option in action.option_strings]
        name = unknown[0].split("=")[0]
        raise UserError(f"bench {given.bench}", unknown[0], f"one of {', '.join(known)}", suggestion(name, known))
    return given


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The command's and each benchmark's, by its name."""
    parser = _Parser(prog="python -m talkingavatar.bench", description=__doc__, allow_abbrev=False)
    benches = parser.add_subparsers(dest="bench", required=True)
    fit = benches.add_parser("fit", help="parts of a training step, in a fit from its start")
    fit.add_argument("overrides", nargs="*", metavar="key=value", help="as of `fit`: experiment=..., trainer=gpu, ...")
    fit.add_argument("--first", type=_count, default=500, metavar="N", help="steps before those that count")
    fit.add_argument("--steps", type=_positive, default=100, metavar="N", help="steps that count")
    drive = benches.add_parser("drive", help="parts of a driven frame, from new speech to a video")
    drive.add_argument("run", metavar="run=...", help="the folder of a fitted run")
    drive.add_argument("--frames", type=_positive, default=50, metavar="N")
    for bench in (fit, drive):
        bench.add_argument("--parts", nargs="+", metavar="PART", help="show only these")
    raster = benches.add_parser("raster", help="milliseconds per frame of the rasteriser, against plain torch")
    counts, sizes = [10_000, 50_000, 200_000], [256, 512, 1024]
    raster.add_argument("--counts", type=_positive, nargs="+", default=counts, metavar="N", help="Gaussians")
    raster.add_argument("--sizes", type=_positive, nargs="+", default=sizes, metavar="PX", help="image width")
    raster.add_argument("--mode", nargs="+", choices=["3dgs", "2dgs"], default=["3dgs", "2dgs"])
    raster.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    raster.add_argument("--repeats", type=_positive, default=7, help="frames per figure, of which the median is shown")
    raster.add_argument(
        "--no-plain", action="store_true", help="leave out the plain version, which takes seconds to minutes a case"
    )
    stream = benches.add_parser("stream", help="delay and speed of a driver that hears speech as it comes")
    stream.add_argument("--run", type=Path, help="of a fit with a driver, whose avatar is drawn, too")
    stream.add_argument(
        "--chunks", type=_positive, nargs="+", default=[20, 40, 100], metavar="MS", help="of sound that come at once"
    )
    stream.add_argument("--seconds", type=_positive, default=20, metavar="S", help="of speech")
    live = benches.add_parser(
        "live", help="sound to frame in a browser, part by part; whether hours of it cost anything"
    )
    live.add_argument("run", metavar="run=...", help="the folder of a run with a driver")
    live.add_argument("--seconds", type=_positive, default=20, metavar="S", help="of speech")
    live.add_argument("--times", type=_positive, default=1, metavar="N", help="as fast as it is spoken, at most")
    sweep = benches.add_parser("sweep", help="seconds of report, status and submission of many (synthetic) runs")
    sweep.add_argument("--runs", type=_positive, default=1000, metavar="N")
    sweep.add_argument("--pictures", type=int, default=0, metavar="N", help="of each run")
    for bench in benches.choices.values():
        bench.add_argument("--against", metavar="COMMIT", help="run the same there and here, in turn")
        bench.add_argument("--rounds", type=_positive, default=2, metavar="N", help="of such a comparison")
        bench.add_argument("--out", type=Path, help="also write the figures as JSON")
    return parser, dict(benches.choices)


def _fit(given: argparse.Namespace) -> Rows:
    from talkingavatar.engine.measuring.step_bench import PARTS, bench_fit

    _check_parts(given.parts, PARTS)
    return _shown(bench_fit(given.overrides, given.first, given.steps), given.parts)


def _drive(given: argparse.Namespace) -> Rows:
    from talkingavatar.engine.measuring.drive_bench import ALONE, PARTS, bench_drive

    _check_parts(given.parts, (*PARTS, ALONE))
    return _shown(bench_drive(user_path(given.run.removeprefix("run=")), given.frames), given.parts)


def _raster(given: argparse.Namespace) -> Rows:
    from talkingavatar.splatting.bench import bench_raster

    return bench_raster(given.counts, given.sizes, given.mode, given.device, given.repeats, not given.no_plain)


def _stream(given: argparse.Namespace) -> Rows:
    from talkingavatar.engine.measuring.stream_bench import bench_stream

    return bench_stream(given.run, given.chunks, given.seconds)


def _live(given: argparse.Namespace) -> Rows:
    from talkingavatar.exporters.bake import bake
    from talkingavatar.viewer.bench import bench_live

    return bench_live(user_path(given.run.removeprefix("run=")), bake, given.seconds, given.times)


def _sweep(given: argparse.Namespace) -> Rows:
    from talkingavatar.launch.bench import bench_sweep

    return bench_sweep(given.runs, given.pictures)


def _against(given: argparse.Namespace, words: list[str]) -> Rows:
    from talkingavatar.launch.against import compare, lines

    rows = compare(_without(words, OWN), given.against, given.rounds)
    print(*lines(rows), sep="\n")
    return rows


def _without(words: list[str], options: tuple[str, ...]) -> list[str]:
    """The words less these options and their values, written `--x value` or `--x=value`."""
    kept, skip = [], False
    for word in words:
        if not skip and word.split("=")[0] not in options:
            kept.append(word)
        skip = word in options
    return kept


def _check_parts(chosen: list[str] | None, parts: tuple[str, ...]) -> None:
    from talkingavatar.config.names import suggestion

    for name in chosen or []:
        if name not in parts:
            raise UserError("--parts", repr(name), f"of {'; '.join(parts)}", suggestion(name, list(parts)))


def _shown(rows: Rows, parts: list[str] | None) -> Rows:
    """Prints the rows of the chosen parts and the whole; returns them."""
    rows = [row for row in rows if parts is None or row["part"] in parts or row is rows[-1]]
    unit = next(key for key in rows[0] if key.startswith("ms a "))
    print(f"{'':<22}{unit:>12}{'share':>9}")
    for row in rows:
        print(f"{row['part']:<22}{row[unit]:>12.2f}{row['share']:>9.1%}")
    print(", ".join(f"{value:.4g} {key}" for key, value in rows[-1].items() if key not in ("part", unit, "share")))
    return rows


def _positive(text: str) -> int:
    """A whole number above 0."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0")
    return value


def _count(text: str) -> int:
    """A whole number from 0 on."""
    if (value := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"{value} is below 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
