"""Work shared out over threads: the same results in the same order, errors where they belong, nothing left running."""

import threading
import time

import pytest

from talkingavatar.runtime.threads import in_order, made_ahead


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
