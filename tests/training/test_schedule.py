from dataclasses import replace

import pytest

from talkingavatar.config.compose import compose
from talkingavatar.config.schema import MethodConfig, RateConfig
from talkingavatar.errors import UserError
from talkingavatar.training.schedule import scale_step, scaled

PAPER = compose(["budget=paper"])
QUICK = compose(["budget=quick"])


def method(**rows: RateConfig) -> MethodConfig:
    """A method whose schedule has these rows."""
    return MethodConfig(schedule=rows)


def test_paper_budget_meets_the_paper_table():
    # THGS table 1: group, start, rate at start, rate at step 150,000.
    table = [
        ("skinning", 1_500, 1e-4, 1e-5),
        ("pose", 1_500, 3e-5, 1e-5),
        ("expression", 15_000, 3e-5, 1e-5),
        ("leb", 25_000, 3e-7, 1e-8),
        ("saam", 50_000, 1e-3, 1e-4),
    ]
    for name, start, first, last in table:
        schedule = scaled(name, PAPER.method, PAPER.budget, train_frames=500)
        assert schedule.rate(start - 1) == 0
        assert schedule.rate(start) == pytest.approx(first)
        assert schedule.rate(150_000) == pytest.approx(last)
        assert schedule.rate((start + 150_000) // 2) == pytest.approx((first * last) ** 0.5, rel=1e-3)


def test_what_stops_has_reached_its_last_rate_and_is_frozen_again():
    stopping = method(means=RateConfig(stop=100_000, lr=1e-3, lr_end=1e-5))
    schedule = scaled("means", stopping, PAPER.budget, train_frames=500)
    assert schedule.rate(50_000) == pytest.approx(1e-4) and schedule.rate(99_999) == pytest.approx(1e-5, rel=1e-3)
    assert schedule.rate(100_000) == schedule.rate(149_999) == 0


@pytest.mark.parametrize("name", ["skinning", "leb"])
def test_travel_is_kept_in_a_shorter_budget(name):
    """The sum of rates, which bounds how far Adam moves a parameter, is the paper's unless the limit holds it back."""
    free = method(**{name: replace(QUICK.method.schedule[name], limit=1.0)})
    sums = []
    for budget in (PAPER.budget, QUICK.budget):
        schedule = scaled(name, free, replace(budget, warmup=0), train_frames=120)
        sums.append(sum(schedule.rate(step) for step in range(budget.steps)))
    assert sums[1] == pytest.approx(sums[0], rel=0.02)


def test_visits_keep_the_travel_of_a_frame():
    visited = method(pose=RateConfig(lr=1e-5, lr_end=1e-5, rule="visits", limit=1.0))
    schedule = scaled("pose", visited, QUICK.budget, train_frames=120)
    visits = QUICK.budget.steps / 120
    assert schedule.lr * visits == pytest.approx(1e-5 * 300)


def test_one_visit_goes_no_further_than_the_limit_however_many_frames_share_the_steps():
    visited = method(pose=RateConfig(lr=1e-5, lr_end=1e-5, rule="visits", limit=1e-3))
    few, many = (scaled("pose", visited, QUICK.budget, train_frames=n) for n in (100, 400))
    assert few.lr == pytest.approx(1e-3 / 10) and many.lr == pytest.approx(1e-3 / 20)


def test_limit_and_fixed():
    limited, fixed = RateConfig(lr=1e-3, lr_end=1e-3, rule="travel", limit=3e-3), RateConfig(lr=1e-3, lr_end=1e-4)
    assert scaled("x", method(x=limited), QUICK.budget, 1).lr == 3e-3
    assert scaled("x", method(x=fixed), QUICK.budget, 1).lr_end == 1e-4
    assert scale_step(150_000, QUICK.method, QUICK.budget) == QUICK.budget.steps
    longer = replace(method(x=replace(limited, start=300_000, limit=1.0)), paper_steps=600_000)
    assert scaled("x", longer, QUICK.budget, 1).start == QUICK.budget.steps // 2
    assert scaled("x", longer, QUICK.budget, 1).lr == pytest.approx(1e-3 * 600_000 / QUICK.budget.steps)


def test_nothing_starts_before_the_warmup():
    quick = scaled("pose", QUICK.method, QUICK.budget, 120)
    assert quick.start == QUICK.budget.warmup > scale_step(1_500, QUICK.method, QUICK.budget)
    assert scaled("means", QUICK.method, QUICK.budget, 120).start == 0


def test_unknown_rule_is_refused():
    with pytest.raises(UserError, match=r"method.schedule.pose.rule"):
        scaled("pose", method(pose=RateConfig(rule="fast")), QUICK.budget, 1)
