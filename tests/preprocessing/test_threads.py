"""Work shared out over threads: the same results in the same order, errors where they belong, nothing left running."""

import threading
import time

import pytest

from talkingavatar.preprocessing.threads import Beside, Stopped, in_order, made_ahead


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_however_long_each_takes(workers):
    def slow(number):
        time.sleep(0.002 * (number % 3))
        return number * number

    assert list(in_order(slow, range(30), workers)) == [n * n for n in range(30)]


def test_work_is_not_done_far_in_advance():
    begun = []
    results = in_order(begun.append, range(100), workers=2, ahead=4)
    next(results)
    time.sleep(0.05)
    results.close()
    assert len(begun) <= 6


def test_an_error_comes_where_its_result_would():
    def fails(number):
        if number == 3:
            raise KeyError("three")
        return number

    got = []
    with pytest.raises(KeyError, match="three"):
        for result in in_order(fails, range(10)):
            got.append(result)
    assert got == [0, 1, 2]


def test_items_are_made_by_another_thread_until_they_end():
    makers = set()

    def numbers():
        for number in range(5):
            makers.add(threading.get_ident())
            yield number

    assert list(made_ahead(numbers())) == list(range(5))
    assert makers and threading.get_ident() not in makers


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
