"""Work beside other work: its progress, its mistakes, and its end."""

import threading
import time

import pytest

from talkingavatar.preprocessing.beside import Beside, Stopped


class Bars:
    """What a user would see: title, total, how many pieces of it were told."""

    def __init__(self):
        self.seen = []

    def __call__(self, title, total):
        bar = [title, total, 0]
        self.seen.append(bar)

        def advance():
            bar[2] += 1

        return advance


def test_progress_is_shown_of_what_is_left_once_somebody_waits():
    bars, half, go = Bars(), threading.Event(), threading.Event()

    def work(progress):
        advance = progress("mattes", 10)
        for number in range(10):
            if number == 4:
                half.set()
                go.wait()
            advance()

    with Beside(work, bars) as beside:
        tick = beside.watched("motion", 2)
        half.wait()
        tick()
        threading.Timer(0.1, go.set).start()
        beside.wait()
        beside.wait()  # again does nothing
    assert bars.seen[0] == ["motion", 2, 1]
    assert ["mattes", 6, 6] in bars.seen


def test_what_is_done_before_anyone_waits_is_shown_done():
    bars = Bars()

    def work(progress):
        advance = progress("mattes", 3)
        for _ in range(3):
            advance()

    with Beside(work, bars) as beside:
        while not beside._future.done():
            time.sleep(0.001)
        beside.wait()
    assert bars.seen == [["mattes", 3, 3]]


def test_a_mistake_beside_ends_what_goes_on_meanwhile():
    def work(progress):
        raise ValueError("no mattes")

    with pytest.raises(ValueError, match="no mattes"), Beside(work, Bars()) as beside:
        tick = beside.watched("motion", 1000)
        for _ in range(1000):
            time.sleep(0.01)
            tick()


def test_who_is_stopped_stops_the_work_beside():
    ended, begun = [], threading.Event()

    def work(progress):
        advance = progress("mattes", 1000)
        try:
            for _ in range(1000):
                begun.set()
                time.sleep(0.005)
                advance()
        except Stopped:
            ended.append(True)
            raise

    with pytest.raises(KeyboardInterrupt), Beside(work, Bars()):
        begun.wait()
        raise KeyboardInterrupt
    assert ended == [True]
