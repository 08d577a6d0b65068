"""Fit an avatar: python -m talkingavatar.fit experiment=thgs_full"""

import os
import sys
from textwrap import fill

# Two thread pools (torch's, numba's) share the cores: who waits must sleep, not spin. Read before either starts.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

HELP = """Fit an avatar to a capture, continuing where an earlier start left off.

  python -m talkingavatar.fit experiment=thgs_full              the embedded speaker, minutes on a CPU
  python -m talkingavatar.fit experiment=thgs_wo_leb data.identity=1 seed=3
  python -m talkingavatar.fit experiment=thgs_full data=capture data.path=my_capture budget=standard
  python -m talkingavatar.fit experiment=thgs_full body=smplx body.path=SMPLX_NEUTRAL.npz data=capture data.path=...

Everything is `key=value`: a group picks a file of conf/, a dotted key sets one value.

{groups}

Often set: seed, budget.steps, data.size, data.seconds, run.path, run.fresh=true (start anew), metrics.weights.
Runs go to ./runs or $TALKINGAVATAR_RUNS, caches to the user cache folder or $TALKINGAVATAR_CACHE; presets of your own
lie in $TALKINGAVATAR_CONF, a folder laid out as conf/.
Exit codes: 0 finished, 2 a mistake in what was given, 75 saved and wants to be started again.
`--config` prints the resolved configuration and ends."""

# Flags of Hydra's own programs, and what does the same here.
HABITS = {
    **dict.fromkeys(
        ("-m", "--multirun"), "for several runs: python -m talkingavatar.sweep <file>, such as thgs_table6"
    ),
    **dict.fromkeys(("-c", "--cfg", "--resolve", "-p", "--package"), "for the resolved configuration: --config"),
    **dict.fromkeys(("-i", "--info"), "for presets: --help; for what is installed: python -m talkingavatar.doctor"),
    **dict.fromkeys(("-cd", "--config-dir", "-cp", "--config-path"), "for presets of your own: $TALKINGAVATAR_CONF"),
    **dict.fromkeys(("-cn", "--config-name"), "for a preset: experiment=<name>"),
}


def main(arguments: list[str]) -> int:
    """Run the command; the exit code."""
    from talkingavatar.runtime.command import ended

    return ended(lambda: _act(arguments))


def _act(arguments: list[str]) -> int:
    if "--help" in arguments or "-h" in arguments:
        print(HELP.format(groups=_groups()))
        return 0
    _refuse_flags(arguments)
    return _fit(arguments)


def _refuse_flags(arguments: list[str]) -> None:
    """
    Raises:
        UserError: what Hydra's own programs are told by a flag; here another word, or another command, does it.
    """
    from talkingavatar.errors import UserError

    for argument in arguments:
        if argument.startswith("-") and argument != "--config":
            instead = HABITS.get(argument.split("=")[0], "see --help")
            raise UserError("argument", argument, "key=value, --config or --help", instead)


def _groups() -> str:
    from talkingavatar.config.listing import group_options

    return "\n".join(
        fill(", ".join(options), 120, initial_indent=f"  {name:<11}", subsequent_indent=13 * " ")
        for name, options in group_options().items()
    )


def _fit(arguments: list[str]) -> int:
    from talkingavatar.config.compose import compose, to_yaml

    config = compose(a for a in arguments if a != "--config")
    if "--config" in arguments:
        print(to_yaml(config))
        return 0
    from talkingavatar.runtime.command import lasting
    from talkingavatar.runtime.signals import Preempted, stop_flag

    with stop_flag() as flag:
        with lasting():  # near a million objects, looked through again and again while their number grows
            from talkingavatar.engine.experiment import run_fit
            from talkingavatar.engine.run.directory import RunDirectory
            from talkingavatar.engine.terminal import show

        try:
            outcome = run_fit(config, flag)
        except Preempted:
            print("saved; start the same command again to continue")
            print(f"run: {RunDirectory.path_of(config)}")
            return 75
    if outcome is None:
        return 0  # another process leads the run
    show(outcome)
    print(f"run: {outcome.run}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
