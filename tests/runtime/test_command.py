"""How a command ends, and what lasts as long as the process."""

import gc
import os
import subprocess
import sys

import pytest

from talkingavatar.runtime.command import ended, lasting


@pytest.mark.parametrize("command", ["drive", "fit", "preprocess", "sweep"])
def test_a_command_that_nobody_reads_any_more_ends_silently(command):
    """As in `--help | head -1`, where head is quick."""
    reads, writes = os.pipe()
    os.close(reads)
    words = [sys.executable, "-m", f"talkingavatar.{command}", "--help"]
    done = subprocess.run(words, stdout=writes, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writes)
    assert (done.returncode, done.stderr) == (141, "")


def test_another_pipe_that_breaks_is_not_taken_for_what_is_printed():
    def command() -> int:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        ended(command)


def test_what_lasts_is_not_looked_through_and_what_comes_after_is():
    before = gc.get_freeze_count()
    with pytest.raises(KeyError), lasting():
        assert not gc.isenabled()
        kept = [[] for _ in range(1000)]
        raise KeyError
    assert gc.isenabled() and gc.get_freeze_count() >= before + len(kept)
