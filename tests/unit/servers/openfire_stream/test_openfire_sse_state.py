"""What is known of a user's stream: which time may be missing when it is open again."""

from restbroker.servers.openfire.stream.state import Gap, StreamState
from restbroker.store.logins import LoggedIn, LoggedOff


def opened(state: StreamState, login: LoggedIn, at_s: float) -> None:
    state.login = login
    state.begins(at_s)


def test_a_logoff_of_the_login_that_was_read_leaves_no_gap_and_one_of_another_login_does() -> None:
    state = StreamState()
    assert state.has_no_login(5.0, LoggedOff(number=3)) is None, "nobody was read before"
    opened(state, LoggedIn("a", 7), 10.0)
    assert state.gap() == Gap(5.0, 10.0, "the user logged in before it was open")
    state.breaks_off(20.0)
    assert state.has_no_login(21.0, LoggedOff(number=7)) is None
    gap = state.has_no_login(22.0, LoggedOff(number=8))
    assert gap is not None
    assert (gap.since_s, gap.until_s) == (21.0, 22.0)
    assert state.has_no_login(23.0, LoggedOff(number=8)) is None, "told once"
    opened(state, LoggedIn("c", 9), 30.0)
    assert state.gap() == Gap(23.0, 30.0, "the stream ended")


def test_another_login_under_a_stream_that_is_still_open_is_in_a_gap_from_its_beginning() -> None:
    state = StreamState()
    opened(state, LoggedIn("a", 7), 10.0)
    gap = state.has_no_login(21.0, LoggedOff(number=8))
    assert gap is not None
    assert (gap.since_s, gap.until_s) == (10.0, 21.0)
