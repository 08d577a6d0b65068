"""`python -m talkingavatar`."""

from pathlib import Path

import talkingavatar
from talkingavatar.__main__ import COMMANDS, main


def test_every_command_is_listed_with_an_example(capsys) -> None:
    package = Path(talkingavatar.__file__).parent
    commands = {f.stem for f in package.glob("*.py") if "def main(" in f.read_text()} - {"__main__"}
    assert set(COMMANDS) == commands
    assert main([]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert lines.keys() == commands and all(f"python -m talkingavatar.{name}" in lines[name] for name in commands)


def test_a_command_is_run_and_a_misspelt_one_told(capsys) -> None:
    assert main(["doctor", "--help"]) == 0
    assert "fetch=lpips" in capsys.readouterr().out
    assert main(["fitt", "seed=1"]) == 2
    assert capsys.readouterr().err.rstrip().endswith("did you mean fit?")
