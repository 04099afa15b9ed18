"""What a job asks for and does not get: members without effect, or nearly named as one that is read."""

import time
from itertools import chain

import pytest

from restbroker.job import unmet as subject
from restbroker.job.json_types import Json
from restbroker.job.unmet import unmet

UNREAD = {"order_key": "OrderBy", "fair_key": "FairBy"}


def codes(fields: dict[str, Json], *, expires: bool = False, answered: bool = True) -> list[tuple[str, str]]:
    return [(found.code, found.what) for found in unmet(fields, UNREAD, ("a",), expires=expires, answered=answered)]


@pytest.mark.parametrize(
    ("name", "meant"),
    {
        "orderKey": "order_key",
        "idempotencyKey": "idempotency_key",
        "replyTo": "reply_to",
        "reply-to": "reply_to",
        "Expiry": "expiry",
        "ok_if_exist": "ok_if_exists",
        "idempotency": "idempotency_key",
        "createdAt": "created_at",
    }.items(),
)
def test_a_member_nearly_named_as_one_that_is_read_is_told(name: str, meant: str) -> None:
    (found,) = unmet({name: "x"}, {}, expires=False, answered=True)
    assert (found.code, found.what) == ("MemberMisspelt", f"has {name}, which restbroker does not read")
    assert found.hint == f"Did you mean {meant}?"


def test_what_middleware_or_anybody_writes_is_not_misspelt() -> None:
    theirs = chain.from_iterable(subject._OF_OTHERS.values())  # noqa: SLF001 - the list itself is the claim
    of_anybody = ("request_id", "tenant", "meta", "cattr_1", "restbroker_attempts", "reply_id", "retry_in", "order", "")
    assert codes(dict.fromkeys((*theirs, *of_anybody)), expires=True) == []


def test_each_wish_without_effect_is_named() -> None:
    wishes: dict[str, Json] = {"reply_to": "queue:x", "order_key": "a", "expires_in": 5, "retry_queue": "b"}
    assert [code for code, _ in codes(wishes, answered=False)] == [
        "BadReplyTo", "UnusedKey", "ExpiryWithoutTime", "ReplyWithoutQueue", "RetryQueueIgnored",
    ]  # fmt: skip
    assert codes({"reply_to": "x", "fair_key": None, "expires_in": 5, "retry_queue": "a"}, expires=True) == []


def test_very_many_strange_members_cost_little() -> None:
    strange: dict[str, Json] = {f"idempotency_key{number}": 1 for number in range(100_000)}
    began_s = time.process_time()
    assert len(codes(strange)) <= 20
    assert time.process_time() - began_s < 1
