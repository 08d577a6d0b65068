"""Warning signals where there is no loop that looks for them."""

import os
import signal
import time

import pytest

from talkingavatar.runtime.making import making
from talkingavatar.runtime.signals import Preempted, stop_flag
from talkingavatar.runtime.threads import in_order


def test_what_makes_data_ends_at_once_and_leaves_nothing(tmp_path):
    """Also while another thread is waited for; a second signal does not disturb what cleans up."""

    def draw(number: int) -> None:
        (folder / str(number)).touch()
        if number == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.02)

    with stop_flag() as flag:
        began = time.monotonic()
        with pytest.raises(Preempted), flag.stopping_at_once(), making(tmp_path) as folder:
            list(in_order(draw, range(1000)))
        assert time.monotonic() - began < 1 and not list(tmp_path.iterdir())
        os.kill(os.getpid(), signal.SIGUSR1)  # told already; nothing is raised any more
        with pytest.raises(Preempted), flag.stopping_at_once():
            pytest.fail("begun after a warning")


def test_a_loop_is_only_told():
    with stop_flag() as flag:
        with flag.stopping_at_once():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert flag.signal == signal.SIGTERM
