"""The one error a user's mistake raises, and the one of a disk without room."""

LONG = 400  # characters of what was found
BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # of lines, which a name may hold


class UserError(Exception):
    """A mistake in what the user gave: shown as one line, exit code `code`, never a traceback.

    Args:
        field: what is wrong, as the user named it (a config key, a file path).
        found: what was there.
        expected: what should have been there.
        action: what to do about it.
    """

    code = 2

    def __init__(self, field: str, found: str, expected: str, action: str) -> None:
        self.field, self.found, self.expected, self.action = field, found, expected, action
        line = f"{field}: found {_short(found)}; expected {expected}; {action}"
        super().__init__("".join(repr(c)[1:-1] if c in BREAKS else c for c in line))


class DiskFull(UserError):
    """No room on a disk: what is saved goes on when there is some, by the same command."""

    code = 75


def _short(text: str) -> str:
    """A text of which the middle is left out where it is long."""
    return text if len(text) <= LONG else f"{text[: LONG // 2]} ... {text[-LONG // 2 :]}"
