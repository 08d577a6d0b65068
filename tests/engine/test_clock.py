"""The clock behind `bench fit` and `bench drive`."""

import time

import pytest
import torch

from talkingavatar.engine.measuring.clock import REST, Clock, table


class Worker:
    def outer(self):
        time.sleep(0.02)
        return self.inner()

    def inner(self):
        time.sleep(0.03)
        return "done"


def test_every_moment_belongs_to_one_part():
    clock, worker = Clock(), Worker()
    clock.time(worker, "outer", "a")
    clock.time(worker, "inner", "b")
    clock.reset()
    began = time.perf_counter()
    assert worker.outer() == "done"
    time.sleep(0.01)
    clock.switch(REST)
    spent = time.perf_counter() - began
    assert sum(clock.seconds.values()) == pytest.approx(spent, rel=0.05)
    assert clock.seconds["a"] >= 0.02 and clock.seconds["b"] >= 0.03 and clock.seconds[REST] >= 0.01
    clock.release()
    worker.outer()
    assert clock.switch(REST) == REST and sum(clock.seconds.values()) > spent


def test_what_was_before_a_reset_counts_for_nothing():
    clock = Clock()
    time.sleep(0.05)
    clock.reset()
    clock.switch("a")
    assert sum(clock.seconds.values()) < 0.04


def test_a_whole_part_claims_what_is_called_inside():
    clock, worker = Clock(), Worker()
    clock.time(worker, "outer", "a", whole=True)
    clock.time(worker, "inner", "b")
    worker.outer()
    assert clock.seconds["a"] >= 0.05 and "b" not in clock.seconds


def test_a_mark_is_passed_backwards_and_changes_nothing():
    clock = Clock()
    x = torch.ones(3, requires_grad=True)
    (before, nothing) = clock.mark("outside", x, None)
    assert nothing is None
    (after,) = clock.mark("inside", before.square())
    assert after.equal(x.square())
    clock.switch("start")
    after.sum().backward()
    assert clock.switch("end") == "outside" and {"start", "inside"} <= clock.seconds.keys()
    assert x.grad.equal(2 * torch.ones(3))


def test_a_table_adds_up():
    rows = table({"a": 1.0, "b": 3.0}, ("a", "b", "c"), 10, "step")
    assert [row["part"] for row in rows] == ["a", "b", "c", "all"]
    assert [row["ms a step"] for row in rows] == [100.0, 300.0, 0.0, 400.0]
    assert [row["share"] for row in rows] == [0.25, 0.75, 0.0, 1.0]
