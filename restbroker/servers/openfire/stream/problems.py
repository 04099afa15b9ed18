"""The problems for which a stream is not read, with their texts in `findings.toml`. Used by the others of this folder.

Always holds: no password, no stream's id and no part of an event is in a text.
"""

from typing import Final

from restbroker.config.target import Target
from restbroker.job.outcome import Delivered
from restbroker.servers.event_contract import Problem
from restbroker.servers.findings import Texts
from restbroker.servers.openfire.chat.sessions import NoLogin

NOT_LOGGED_IN: Final = 404
UNWANTED: Final = 405
TEXTS: Final = Texts.beside(__file__)
_OTHER: Final = "OpenfireAway-status"
_OF_STATUS: Final = {
    401: "OpenfireDenied-status",
    403: "OpenfireDenied-status",
    405: "OpenfireAway-accept",
    503: "OpenfireAway-now",
}
"""Measured, but for 403."""


def refusal(target: Target, user: str, status: int) -> Problem:
    """Return the problem that the server answered this status to the question for a stream."""
    return TEXTS.problem(_OF_STATUS.get(status, _OTHER), url=target.url, user=user, status=status)


def no_answer(why: str) -> Problem:
    """Return the problem that the server does not answer; `why` is a sentence."""
    return TEXTS.problem("OpenfireAway-silent", why=why)


def login_problem(user: str, error: NoLogin) -> Problem:
    """Return the problem that the user could not be logged in; `error` says why."""
    why = "the server refuses the login." if isinstance(error.outcome, Delivered) else error.outcome.reason.message
    return TEXTS.problem("OpenfireDenied-login", user=user, why=why)
