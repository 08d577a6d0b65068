"""The one error a user's mistake raises, and the one of a disk without room."""


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
        super().__init__(f"{field}: found {found}; expected {expected}; {action}")


class DiskFull(UserError):
    """No room on a disk: what is saved goes on when there is some, by the same command."""

    code = 75
