"""What is known of a user's stream: which time may be missing when it is open again."""

from restbroker.servers.openfire.stream.state import Gap, StreamState
from restbroker.store.logins import LoggedIn, LoggedOff


def opened(state: StreamState, login: LoggedIn, at_s: float) -> None:
    state.login = login
    state.note_open(at_s)


def test_a_logoff_of_the_login_that_was_read_leaves_no_gap_and_one_of_another_login_does() -> None:
    state = StreamState()
    assert state.note_logoff(5.0, LoggedOff(number=3)) is None, "nobody was read before"
    opened(state, LoggedIn("a", 7), 10.0)
    assert state.take_gap() == Gap(5.0, 10.0, "the user logged in before it was open")
    state.note_break(20.0)
    assert state.note_logoff(21.0, LoggedOff(number=7)) is None
    gap = state.note_logoff(22.0, LoggedOff(number=8))
    assert gap is not None
    assert (gap.since_s, gap.until_s) == (21.0, 22.0)
    assert state.note_logoff(23.0, LoggedOff(number=8)) is None, "told once"
    opened(state, LoggedIn("c", 9), 30.0)
    assert state.take_gap() == Gap(23.0, 30.0, "the stream ended")


def test_another_login_under_a_stream_that_is_still_open_is_in_a_gap_from_its_beginning() -> None:
    state = StreamState()
    opened(state, LoggedIn("a", 7), 10.0)
    gap = state.note_logoff(21.0, LoggedOff(number=8))
    assert gap is not None
    assert (gap.since_s, gap.until_s) == (10.0, 21.0)
