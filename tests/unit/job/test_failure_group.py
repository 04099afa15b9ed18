"""Which failed jobs are put together."""

import pytest

from restbroker.job.failure_group import generalise, group_id


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("User alice@example.org already exists.", "User <JID> already exists."),
        ("Room 'tech talk' is gone from conference.example.org.", "Room <text> is gone from <host>."),
        ("Refused by 10.1.2.3:5280 after 3.5 s: [::1]:5280", "Refused by <host> after <duration>: <host>"),
        ("job 5c1f0e9a7b3d4826a1c0ffee", "job <number>"),
        ("The server answered with status 422 after 30 ms.", "The server answered with status 422 after <duration>."),
        ("It is left alone for 1 min 5 s more, or 59 s.", "It is left alone for <duration> more, or <duration>."),
        ("id 550e8400-e29b-41d4-a716-446655440000, (10ms)", "id <number>, (<number>ms)"),
        (
            "expected 'null' (char 0): an object with \"class\".",
            "expected <text> (char <number>): an object with <text>.",
        ),
        ("undefined method `foo' for nil", "undefined method <text> for nil"),
        ("503 The server is busy, try 30 again.", "503 The server is busy, try <number> again."),
        ("12 rooms are left.", "<number> rooms are left."),
        ("It's the server's fault, isn't it? See docs/tokens.md.", None),
        ("a decade of dead beef", None),
    ],
)
def test_numbers_jids_hosts_and_quotes_make_no_other_cause(message: str, cause: str | None) -> None:
    assert generalise(message) == (cause or message)


def test_the_jobs_own_texts_make_no_other_cause_either() -> None:
    messages = [
        generalise(f"Can't register user {name} at {name}@e.org: gone.", [name]) for name in ("bad bob", "anna")
    ]
    assert messages == ["Can't register user <text> at <JID>: gone."] * 2
    assert generalise("It is a bob.", ["a", "bob"]) == "It is a <text>."
    assert generalise("No announce for ann, ann.", ["ann"]) == "No announce for <text>, <text>."
    assert generalise("chat.example.org is no host", ["example.org"]) == "<host> is no host"


def test_jobs_are_of_one_group_by_target_command_code_and_cause() -> None:
    causes = [
        ("e", "register", "AlreadyExists", "<JID> exists."),
        (None, "register", "AlreadyExists", "<JID> exists."),
        ("e", "unregister", "AlreadyExists", "<JID> exists."),
        ("e", "register", "Refused", "<JID> exists."),
        ("e", "register", "AlreadyExists", "<JID> is gone."),
        ("e", "registerAlreadyExists", None, "<JID> exists."),
    ]
    assert len({group_id(*cause) for cause in causes}) == 6


def test_how_long_a_value_is_decides_no_group_of_a_long_message() -> None:
    causes = {generalise(f"User {user} is there. {'why ' * 300}", [user]) for user in ("al", "alice", "a" * 60)}
    assert len(causes) == 1
