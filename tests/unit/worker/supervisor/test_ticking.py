"""When the next tick is worth it."""

from __future__ import annotations

from agentjobs.worker.supervisor.ticking import pause, rest


def test_h26_an_idle_worker_ticks_about_once_a_second() -> None:
    assert pause(1.1, None, unheard=False) == 1.1
    assert pause(1.1, 3600.0, unheard=False) == 1.1


def test_h24_a_due_time_is_met_precisely() -> None:
    assert pause(1.1, 0.3, unheard=False) == 0.3


def test_overdue_jobs_that_another_process_holds_do_not_make_it_spin() -> None:
    assert pause(1.1, -5.0, unheard=False) == 0.02


def test_news_that_came_while_another_process_ticked_are_looked_at_soon() -> None:
    assert pause(1.1, None, unheard=True) == 0.1


def test_of_many_workers_two_tick_each_second_and_all_others_together_about_once() -> None:
    assert rest(True, 300) == 1
    assert rest(False, 3) == 20
    for workers in (20, 60, 100):
        assert workers / rest(False, workers) == 1
