"""The commands: python -m talkingavatar"""

import ast
import sys
from pathlib import Path

COMMANDS = (
    "fit", "evaluate", "drive", "view", "export", "preprocess", "import_capture", "sweep", "report", "bench", "doctor",
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """List the commands; with a command's name in front, run it. The exit code."""
    if not arguments or arguments[0] in ("--help", "-h"):
        print(listing())
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        from talkingavatar.config.names import suggestion
        from talkingavatar.errors import UserError

        error = UserError("command", repr(name), f"one of {', '.join(COMMANDS)}", suggestion(name, COMMANDS))
        print(f"error: {error}", file=sys.stderr)
        return 2
    from importlib import import_module

    return import_module(f"talkingavatar.{name}").main(rest)


def listing() -> str:
    """A line a command, from the head of its file: nothing is imported."""
    lines = ["Commands; each explains itself with --help:", ""]
    for name in COMMANDS:
        told = ast.get_docstring(ast.parse(Path(__file__).with_name(f"{name}.py").read_text())) or ""
        purpose, _, example = told.splitlines()[0].partition(": ")
        lines.append(f"  {name:<15} {purpose:<51} {example}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
