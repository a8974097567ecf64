"""How large batches become."""

from __future__ import annotations

from django_runbook.backfills.controller import FIRST, LARGEST, Controller, percentile


def after(controller: Controller, *seconds: float) -> int:
    """The size after batches that took so long."""
    for took in seconds:
        controller.learn(controller.size, took)
    return controller.size


def test_a_batch_grows_by_half_at_most():
    assert after(Controller(0.1), 0.000_1) == FIRST * 1.5


def test_growth_ends_where_a_batch_takes_the_target():
    controller = Controller(0.1)
    for _ in range(50):
        controller.learn(controller.size, controller.size * 0.000_05)
    assert controller.size == 2000


def test_the_size_has_an_end_where_rows_cost_nothing():
    assert after(Controller(0.1), *[0.0] * 50) == LARGEST


def test_a_batch_far_over_the_target_makes_the_next_one_a_tenth():
    assert after(Controller(0.1), 0.51) == FIRST // 10
    assert after(Controller(0.1), 0.49) > FIRST // 10


def test_a_batch_is_never_empty():
    assert after(Controller(0.1, size=3), 60, 60, 60) == 1


def test_two_slow_batches_of_ten_decide_and_one_does_not():
    one, two = Controller(0.1, size=1000), Controller(0.1, size=1000)
    for controller, slow in ((one, 1), (two, 2)):
        for _ in range(10 - slow):
            controller.learn(1000, 0.1)
        for _ in range(slow):
            controller.learn(1000, 0.4)
    assert one.size == 1000
    assert two.size == 250


def test_without_a_target_the_size_stays():
    assert after(Controller(None, size=7), 60, 0.001) == 7


def test_a_percentile_is_one_of_the_values():
    assert percentile([3, 1, 2], 0.9) == 3
    assert percentile(range(1, 11), 0.9) == 9
    assert percentile([5], 0.5) == 5
