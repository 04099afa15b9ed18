"""Which failed jobs are put together."""

import time

import pytest

from restbroker.job.failure_group import generalised, group_of


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("User alice@example.org already exists.", "User <JID> already exists."),
        ("Room 'tech talk' is gone from conference.example.org.", "Room <text> is gone from <host>."),
        ("Refused by 10.1.2.3:5280 after 3.5 s: [::1]:5280", "Refused by <host> after <number> s: <host>"),
        ("job 5c1f0e9a7b3d4826a1c0ffee", "job <number>"),
        ("id 550e8400-e29b-41d4-a716-446655440000, (10ms)", "id <number>, (<number>ms)"),
        ("undefined method `foo' for nil", "undefined method <text> for nil"),
        ("It's the server's fault, isn't it? See docs/tokens.md.", None),
        ("a decade of dead beef", None),
    ],
)
def test_numbers_jids_hosts_and_what_stands_in_quotes_make_no_other_cause(message: str, cause: str | None) -> None:
    assert generalised(message) == (cause or message)


def test_jobs_are_of_one_group_by_target_command_code_and_cause() -> None:
    one = group_of("e", "register", "AlreadyExists", "User a@b.c exists.")
    assert one == group_of("e", "register", "AlreadyExists", "User x@y.z exists.")
    others = [
        group_of(None, "register", "AlreadyExists", "User a@b.c exists."),
        group_of("e", "unregister", "AlreadyExists", "User a@b.c exists."),
        group_of("e", "register", "Refused", "User a@b.c exists."),
        group_of("e", "register", "AlreadyExists", "User a@b.c is gone."),
        group_of("e", "registerAlreadyExists", None, "User a@b.c exists."),
    ]
    assert len({one.id, *(other.id for other in others)}) == 6


@pytest.mark.parametrize("piece", ["a.", "a@", "' ", "«", "1.", "a.b-", "0123456789abcdef", "f" * 40, "\ud800"])
def test_a_message_that_was_made_to_be_slow_is_not(piece: str) -> None:
    began_s = time.thread_time()
    group_of("e", "register", "Refused", piece * (1_000_000 // len(piece)))
    assert time.thread_time() - began_s < 0.5
