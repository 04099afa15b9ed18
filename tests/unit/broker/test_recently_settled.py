"""Settlements are remembered for some seconds and within some memory, and no longer."""

from restbroker.broker.recently_settled import KEPT_BYTES, KEPT_S, LOSS_S, RecentlySettled
from restbroker.job.settlement import Ack, Reply, Requeue


def test_a_settlement_is_remembered_for_ten_seconds() -> None:
    recent = RecentlySettled()
    recent.add(["1:1"], [Ack()], [b""], 100.0)
    recent.add(["2:1"], [Ack()], [b""], 100.0 + KEPT_S)
    assert recent.get("1:1") == Ack()
    recent.add(["3:1"], [Ack()], [b""], 100.1 + KEPT_S)
    assert recent.get("1:1") is None
    assert recent.get("2:1") == Ack()


def test_what_is_too_old_is_forgotten_also_when_nothing_more_is_settled() -> None:
    recent = RecentlySettled()
    recent.forget(100.0)
    recent.add(["1:1"], [Ack()], [b""], 100.0)
    recent.forget(100.0 + KEPT_S)
    assert recent.get("1:1") == Ack()
    recent.forget(100.1 + KEPT_S)
    assert recent.get("1:1") is None


def test_large_answers_push_out_older_ones() -> None:
    recent = RecentlySettled()
    large = Ack((Reply(b"x" * (1024 * 1024), queue="q"),))
    for number in range(100):
        recent.add([f"{number}:1"], [large], [b""], 100.0)
    kept = sum(recent.get(f"{number}:1") is not None for number in range(100))
    assert kept * 1024 * 1024 <= KEPT_BYTES
    assert kept > 25
    assert recent.get("99:1") == large


def test_of_a_group_that_is_too_large_the_last_ones_are_remembered() -> None:
    recent = RecentlySettled()
    recent.add(["0:1"], [Ack()], [b""], 100.0)
    large = Ack((Reply(b"x" * (1024 * 1024), queue="q"),))
    recent.add([f"{number}:1" for number in range(1, 101)], [large] * 100, [b""] * 100, 100.0)
    kept = [number for number in range(101) if recent.get(f"{number}:1") is not None]
    assert kept == list(range(101 - len(kept), 101))
    assert 25 < len(kept) <= KEPT_BYTES // (1024 * 1024)
    recent.add(["101:1"], [Ack()], [b""], 100.1 + KEPT_S)
    assert [number for number in range(102) if recent.get(f"{number}:1") is not None] == [101]


def test_after_an_outage_settled_and_lost_jobs_are_known_to_have_run_once_each_and_for_a_minute() -> None:
    recent = RecentlySettled()
    recent.add(["1:1", "2:1", "3:1"], [Ack(), Requeue(), Requeue(b"more")], [b"settled", b"put back", b"begun"], 100.0)
    assert not recent.may_have_run(b"settled", 100.0)
    recent.note_loss([b"lost"], 101.0)
    assert [recent.may_have_run(job, 102.0) for job in (b"settled", b"settled", b"lost", b"put back", b"begun")] == [
        True, False, True, False, True,
    ]  # fmt: skip
    recent.note_loss([], 103.0)
    assert not recent.may_have_run(b"settled", 103.0 + LOSS_S)
