# ruff: noqa: SLF001 - what is kept stays bounded, and no public name shows how much it is
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.broker.rules import MOST_COMMANDS, TripRules
from tests.support.rows import rows


@pytest.fixture
def breaker() -> TripRules:
    return TripRules()


def opened(now_s: float = 100.0, retry_after_s: float = 0.0) -> TripRules:
    breaker = TripRules()
    breaker.trip(now_s, "503", retry_after_s)
    return breaker


def is_open_after(breaker: TripRules, moments: range, *, deferred: bool | None = None) -> bool:
    """Whether it is open after one unsent job (`deferred` None) or one answer at each moment."""
    for moment in moments:
        if deferred is None:
            breaker.record_unsent(moment)
        else:
            breaker.record_answer(moment, deferred=deferred)
    return not breaker.permits


def test_an_answer_of_any_kind_ends_a_row_of_unsent(breaker: TripRules) -> None:
    for moment in range(0, 80, 8):
        assert not is_open_after(breaker, range(moment, moment + 4))
        breaker.record_answer(moment + 4, deferred=moment % 16 == 0)


def test_nothing_from_before_counts_after_closing(breaker: TripRules) -> None:
    for _ in range(19):
        breaker.record_answer(1.0, deferred=True)
    for _ in range(4):
        breaker.record_unsent(1.0)
    breaker.trip(1.0, "429", 60.0)
    breaker.probe_ok(2.0)
    for _ in range(4):
        breaker.record_unsent(2.0)
    breaker.record_answer(2.0, deferred=True)
    assert breaker.permits
    breaker.trip(3.0, "503")
    assert breaker.probe_due_s(3.0, 0.0) == 1.0


@pytest.mark.promise("A good citizen", "a dead target is probed every second or two")
@rows(("jitter", "wait_s"), [(0.0, 1.0), (0.5, 1.5), (0.99, 1.99)])
def test_a_probe_is_due_one_to_two_seconds_after_the_last_try(jitter: float, wait_s: float) -> None:
    breaker = opened()
    assert breaker.probe_due_s(100.0, jitter) == pytest.approx(wait_s)
    assert breaker.probe_due_s(103.0, jitter) == 0.0
    breaker.probe_failed(110.0, "refused")
    assert breaker.probe_due_s(110.0, jitter) == pytest.approx(wait_s)


def test_failing_first_probe_opens_it_and_delays_the_next(breaker: TripRules) -> None:
    breaker.probe_failed(50.0, "refused")
    assert breaker.tripped_at_s == 50.0
    assert breaker.probe_due_s(50.0, 0.0) == 1.0


def test_no_probe_before_the_end_of_retry_after() -> None:
    breaker = opened(100.0, 30.0)
    assert breaker.probe_due_s(100.0, 0.5) == 30.0
    breaker.trip(105.0, "429", 10.0)
    assert breaker.probe_due_s(105.0, 0.5) == 25.0


def test_late_news_while_open_changes_nothing() -> None:
    breaker = opened()
    for _ in range(50):
        breaker.record_unsent(200.0)
        breaker.record_answer(200.0, deferred=True)
        breaker.trip(100.0, "503")
    assert breaker.tripped_at_s == 100.0
    assert breaker.probe_due_s(100.0, 0.0) == 1.0


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=200))
def test_breaker_opens_exactly_by_the_plain_rule(steps: list[tuple[float, bool]]) -> None:
    breaker = TripRules()
    now_s = 0.0
    answers: list[tuple[int, bool]] = []
    for pause_s, deferred in steps:
        now_s += pause_s
        number = int(now_s * 2)
        answers.append((number, deferred))
        breaker.record_answer(now_s, deferred=deferred)
        recent = [bad for moment, bad in answers if moment > number - 20]
        expected = deferred and len(recent) >= 20 and 2 * sum(recent) >= len(recent)
        assert (not breaker.permits) is expected
        if expected:
            return


def relapses(breaker: TripRules, well_s: float, retry_after_s: float = 0.0) -> list[float]:
    """How long a probe waits, each time of ten, if the target is well for so long in between."""
    now_s, waits = 100.0, []
    for _ in range(10):
        breaker.trip(now_s, "503", retry_after_s)
        waits.append(breaker.probe_due_s(now_s, 0.0))
        now_s += waits[-1]
        breaker.probe_ok(now_s)
        now_s += well_s
    return waits


def test_relapsing_target_is_probed_ever_more_rarely(
    breaker: TripRules,
) -> None:
    """It is forgiven when it stays well."""
    waits = relapses(breaker, 1.0)
    assert waits[:5] == [1.0, 1.0, 1.0, 2.0, 4.0]
    assert waits[-1] == 30.0
    breaker.trip(1000.0, "503")
    assert breaker.probe_due_s(1000.0, 0.0) == 1.0
    assert relapses(TripRules(), 5.0) == [1.0] * 10, "five seconds of health are no relapse"


def test_target_naming_its_time_repeatedly_is_asked_after_each(breaker: TripRules) -> None:
    assert relapses(breaker, 0.5, retry_after_s=2.0) == [2.0] * 10


def test_retry_after_holds_even_if_a_probe_finds_the_target_well(breaker: TripRules) -> None:
    breaker.trip(100.0, "429", 60.0)
    assert breaker.held_for_s(159.0) == 1.0
    assert breaker.held_for_s(161.0) == 0.0


def observe(breaker: TripRules, now_s: float, command: str, fine: int, deferred: int = 0) -> None:
    """Note this number of answers to a command."""
    for number in range(fine + deferred):
        breaker.record_answer(now_s, command, deferred=number >= fine)


@rows("steps", [
    [(1.0, "well", 4, 0), (1.0, "sick", 0, 20), (1.0, "ill", 0, 4)],
    [(1.0, "well", 2, 0), (1.0, "sick", 0, 18), (1.0, "sick", 0, 1)],
    [(0.0, "well", 40, 0), (9.0, "sick", 0, 60), (11.0, "sick", 0, 1)],
    [(1.0, f"command-{number}", 0, 1) for number in range(20)],
])  # fmt: skip
def test_breaker_opens_by_a_second_sick_command_or_few_successes(
    steps: list[tuple[float, str, int, int]],
) -> None:
    """Few: under a tenth of those of the last ten seconds."""
    breaker = TripRules()
    for step in steps:
        assert breaker.permits
        observe(breaker, *step)
    assert not breaker.permits


def test_unanswered_slow_command_does_not_open_it_beside_others(breaker: TripRules) -> None:
    observe(breaker, 1.0, "well", 10)
    for _ in range(10):
        breaker.record_silence(2.0, "slow")
    assert breaker.permits
    breaker.record_silence(2.0, "well")
    assert not breaker.permits, "now it is not one command any more"


def test_five_unanswered_in_a_row_open_it_when_nothing_else_runs(breaker: TripRules) -> None:
    for _ in range(5):
        assert breaker.permits
        breaker.record_silence(2.0, "slow")
    assert not breaker.permits


def test_unsent_job_counts_whatever_its_command(breaker: TripRules) -> None:
    observe(breaker, 1.0, "well", 10)
    for _ in range(4):
        breaker.record_silence(2.0, "slow")
    breaker.record_unsent(2.0)
    assert not breaker.permits


def test_commands_that_producers_make_up_take_no_memory(breaker: TripRules) -> None:
    for number in range(10_000):
        breaker.record_answer(number / 1000, f"{number}" * 100, deferred=False)
    assert len(breaker._commands) <= MOST_COMMANDS + 1
    assert max(len(name) for name in breaker._commands) <= 64
    breaker.record_answer(30.0, "known", deferred=False)
    breaker.record_answer(30.0, "new", deferred=False)
    assert {"known", "new"} <= set(breaker._commands)


def test_rule_holds_beyond_the_commands_kept_apart(breaker: TripRules) -> None:
    for number in range(200):
        breaker.record_answer(1.0, f"command-{number}", deferred=number % 5 > 0)
        if not breaker.permits:
            return
    raise AssertionError("four of five answers were deferred, and it stayed closed")


def test_unanswered_counts_as_not_now_though_others_are_answered(breaker: TripRules) -> None:
    for number in range(10):
        breaker.record_answer(number / 10, "c", deferred=False)
        breaker.record_silence(number / 10, "c")
    assert (breaker.tripped_at_s, breaker.reason) == (0.9, "10 of 20 answers within 10 s were “not now”")


def test_job_counts_as_silence_from_the_middle_of_its_time(breaker: TripRules) -> None:
    observe(breaker, 10.0, "c", 30)
    for _ in range(5):
        breaker.record_silence(10.4, "c", waited_s=1.0)
    assert breaker.permits
    for _ in range(5):
        breaker.record_silence(10.5, "c", waited_s=1.0)
    assert breaker.tripped_at_s == 10.5


@rows("commands", [["slow"] * 4 + ["late"], ["late"] + ["slow"] * 4])
def test_two_slow_commands_in_one_row_open_it_in_any_order(commands: list[str]) -> None:
    breaker = TripRules()
    observe(breaker, 1.0, "well", 100)
    for command in commands:
        breaker.record_silence(2.0, command)
    assert not breaker.permits


def test_a_command_is_alone_from_five_answers_on(breaker: TripRules) -> None:
    observe(breaker, 1.0, "well", 100)
    assert not breaker.is_alone("unheard")
    observe(breaker, 1.0, "sick", 0, 4)
    assert not breaker.is_alone("sick")
    observe(breaker, 1.0, "sick", 0, 1)
    assert breaker.is_alone("sick")


def test_known_command_is_kept_apart_though_many_were_made_up(breaker: TripRules) -> None:
    for number in range(2 * MOST_COMMANDS):
        observe(breaker, 1.0, f"command-{number}", 1)
    observe(breaker, 1.0, "command-0", 0, 10)
    assert breaker.is_alone("command-0")


def test_without_a_retry_after_nothing_is_held() -> None:
    breaker = opened(100.0)
    assert breaker.held_for_s(100.0) == 0.0
    breaker.probe_failed(100.0, "refused")
    assert breaker.held_for_s(100.0) == 0.0
    breaker.probe_ok(0.5)
    assert breaker.held_for_s(0.5) == 0.0
