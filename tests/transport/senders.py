"""A sender of requests, as tests see the questions and news of a client."""

from collections.abc import Callable

import attrs

from restbroker.transport.message import Withdrawn


@attrs.define(eq=False)
class Sender:
    """Notes questions and news (`said`). `may` is called when it is asked, `sending` when bytes are to leave."""

    may: Callable[[], object] = bool
    sending: Callable[[], object] = bool
    said: list[str] = attrs.Factory(list)

    def may_send(self) -> None:
        self.said.append("may send")
        self.may()

    def start_sending(self) -> None:
        self.said.append("sending")
        self.sending()

    def clear_sending(self) -> None:
        self.said.append("refused")

    def forbid(self) -> None:
        """From now on it says no."""
        self.may = withdraw


def withdraw() -> None:
    """What says no."""
    raise Withdrawn
