"""Many fits from one file: python -m talkingavatar.sweep sweeps/thgs_table6.yaml"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from talkingavatar.launch.expansion import Job
    from talkingavatar.launch.folder import SweepFolder
    from talkingavatar.launch.submit import Launcher
    from talkingavatar.launch.sweep_file import Sweep

ACTIONS = ("submit", "list", "status", "retry", "cancel", "sync")
KEYS = (
    "launcher", "jobs", "profile", "dry", "fresh", "force", "name", "runs", "draw_seed", "limit", "all", "progress",
    "code",
)  # fmt: skip
HELP = """Run a sweep file in W&B's shape: every run in a folder of its own, stopped and continued at will.

  python -m talkingavatar.sweep sweeps/thgs_table6.yaml                         here, one run at a time
  python -m talkingavatar.sweep sweeps/thgs_table6.yaml jobs=2 seed=0,1,2       two at a time, other seeds
  python -m talkingavatar.sweep sweeps/thgs_table6.yaml launcher=slurm profile=default budget=standard
  python -m talkingavatar.sweep status sweeps/thgs_table6.yaml

  list      the runs of the file
  submit    start what is neither done, failed nor under way (the default); again: continues and repeats nothing
  status    done, running (step, time left), waiting, preempted, failed (last error line)
  retry     start the failed runs once more, and only them
  cancel    warn what runs, so that it saves and ends
  sync      send offline W&B runs to the server (needs `wandb login`)

  launcher  local, slurm
  jobs      runs at a time (local: one a GPU, else one; they share the cores)
  profile   of the cluster: {profiles}, or a YAML file; profile.<key>=value changes one value
  dry       true: say what would be started
  force     true: accept a sweep file that was edited since it was submitted; runs of the same name are kept
  fresh     true: remove the sweep's runs and start anew
  code      frozen: as first submitted, whatever was edited since; current: the checkout as it is now (frozen)
  name      of the sweep's folder (the file's name)
  runs, draw_seed   of `method: random`: how many (the file's run_cap), and what they are drawn from (0)
  limit     runs that a sweep may have ({limit})
  all       true: list and status print every run
  progress  false: no progress bar

Every other key=value goes to every fit; of a swept parameter it replaces the values. Sweeps that come with the package
are found by name: {sweeps}.
Instead of a file, `status` and the actions after it take a folder. Runs go to ./runs/<sweep>/<run> or
$TALKINGAVATAR_RUNS. `wandb sweep` takes the same file.
Exit codes: 0, 1 runs failed, 2 a mistake in what was given, 75 stopped by a signal."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    action: str
    target: Path
    keys: dict[str, str]
    profile: tuple[str, ...]
    overrides: tuple[str, ...]

    def true(self, key: str, default: str = "false") -> bool:
        from talkingavatar.config.arguments import boolean

        return boolean(key, self.keys.get(key, default))

    def number(self, key: str, least: int = 0) -> int | None:
        from talkingavatar.config.arguments import whole_number

        return whole_number(key, self.keys[key], least) if key in self.keys else None


def main(arguments: list[str]) -> int:
    """Run the command; the exit code."""
    from talkingavatar.runtime.command import ended, tell

    if "--help" in arguments or "-h" in arguments or not arguments:
        return ended(lambda: tell(_help()))
    return ended(lambda: _act(parse(arguments)))


def _help() -> str:
    from talkingavatar.launch.expansion import LIMIT
    from talkingavatar.paths import shipped

    profiles = sorted(file.stem for file in (shipped("slurm") / "profiles").glob("*.yaml"))
    sweeps = sorted(file.stem for file in shipped("sweeps").glob("*.yaml"))
    return HELP.format(profiles=", ".join(profiles), sweeps=", ".join(sweeps), limit=LIMIT)


def parse(arguments: Sequence[str]) -> Request:
    """
    Raises:
        UserError: no sweep, or several.
    """
    from talkingavatar.errors import UserError
    from talkingavatar.paths import user_path

    words = list(arguments)
    action = words.pop(0) if words[0] in ACTIONS else "submit"
    targets = [word for word in words if "=" not in word or os.path.exists(word)]  # noqa: PTH110 - false of names too long
    if len(targets) != 1:
        expected = f"one sweep file, after one of {', '.join(ACTIONS)}"
        raise UserError("sweep", " ".join(targets) or "nothing", expected, "e.g. sweeps/thgs_table6.yaml")
    pairs = [word for word in words if word not in targets]
    own = dict(pair.split("=", 1) for pair in pairs if pair.partition("=")[0] in KEYS)
    profile = tuple(pair.removeprefix("profile.") for pair in pairs if pair.startswith("profile."))
    rest = tuple(p for p in pairs if p.partition("=")[0] not in KEYS and not p.startswith("profile."))
    return Request(action, user_path(targets[0]), own, profile, rest)


def _act(request: Request) -> int:
    actions = {
        "submit": _submit, "list": _list, "status": _status, "retry": _retry, "cancel": _cancel, "sync": _sync,
    }  # fmt: skip
    return actions[request.action](request)


def _list(request: Request) -> int:
    from talkingavatar.launch.table import SHOWN, listing

    _, jobs = _expanded(request)
    print(listing(jobs, len(jobs) if request.true("all") else SHOWN))
    print(f"{len(jobs)} runs")
    return 0


def _expanded(request: Request) -> "tuple[Sweep, list[Job]]":
    from talkingavatar.launch.check import check
    from talkingavatar.launch.expansion import LIMIT, expand
    from talkingavatar.launch.sweep_file import find_sweep, read_sweep

    sweep = read_sweep(find_sweep(request.target)).with_overrides(request.overrides)
    jobs = expand(
        sweep, request.number("runs", 1), request.number("draw_seed") or 0, request.number("limit", 1) or LIMIT
    )
    check(sweep, jobs)
    return sweep, jobs


def _folder(request: Request) -> "SweepFolder":
    from talkingavatar.config.arguments import plain_name
    from talkingavatar.launch.folder import SweepFolder
    from talkingavatar.paths import runs_root

    if request.target.is_dir():
        return SweepFolder(request.target)
    return SweepFolder(runs_root() / plain_name("name", request.keys.get("name", request.target.stem)))


def _submit(request: Request) -> int:
    from talkingavatar.launch.code import facts
    from talkingavatar.launch.submit import STARTED, current, refuse_while_running

    sweep, jobs = _expanded(request)
    folder = _folder(request)
    launcher = _launcher(request, folder)
    fresh, dry = request.true("fresh"), request.true("dry")
    if fresh and dry:
        return _start(folder, jobs, launcher, dry)
    if fresh:
        refuse_while_running(folder)
        folder.clear()
    folder.freeze(sweep, jobs, facts(), request.true("force"), write=not dry)
    states = current(folder, jobs)
    failed = sum(state.state == "failed" for state in states)
    if failed:
        print(f"{failed} failed before: `retry` starts them once more")
    return _start(folder, [s.job for s in states if s.state in STARTED and not s.queued], launcher, dry)


def _retry(request: Request) -> int:
    from talkingavatar.launch.submit import current

    folder = _folder(request)
    launcher = _launcher(request, folder)
    failed = [state.job for state in current(folder) if state.state == "failed"]
    if not request.true("dry"):
        for job in failed:
            folder.forget_attempts(job)
    return _start(folder, failed, launcher, request.true("dry"))


def _start(folder: "SweepFolder", jobs: "list[Job]", launcher: "Launcher", dry: bool) -> int:
    from talkingavatar.launch.submit import current, plan, start
    from talkingavatar.launch.table import counts

    if dry:
        print(plan(folder, jobs, launcher))
        return 0
    code = start(folder, jobs, launcher) if jobs else 0
    print(counts(current(folder)))
    print(f"sweep: {folder.path}")
    return code


def _launcher(request: Request, folder: "SweepFolder") -> "Launcher":
    from talkingavatar.config.arguments import choice
    from talkingavatar.launch.submit import Launcher, launched_with

    last = launched_with(folder, "launcher" in request.keys)
    name = choice("launcher", request.keys.get("launcher", last["launcher"]), ("local", "slurm"))
    launcher = Launcher(
        name=name,
        at_once=request.number("jobs", 1) or (last["jobs"] if name == last["launcher"] else None),
        profile=request.keys.get("profile", last["profile"]),
        profile_changes=request.profile,
        progress=request.true("progress", "true"),
        code=choice("code", request.keys.get("code", "frozen"), ("frozen", "current")),
    )
    launcher.check(request.true("dry"))
    return launcher


def _status(request: Request) -> int:
    from talkingavatar.launch.submit import current
    from talkingavatar.launch.table import SHOWN, status_table

    states = current(_folder(request))
    print(status_table(states, len(states) if request.true("all") else SHOWN))
    return 0


def _cancel(request: Request) -> int:
    from talkingavatar.launch.submit import cancel

    print(cancel(_folder(request)))
    return 0


def _sync(request: Request) -> int:
    from talkingavatar.launch.submit import current
    from talkingavatar.launch.sync import sync

    folder = _folder(request)
    print(sync(folder, current(folder), request.true("dry")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
