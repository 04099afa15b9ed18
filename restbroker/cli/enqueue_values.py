"""What the options of `restbroker enqueue` say, checked. Used by `cli.enqueue`."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from restbroker.config.target import Target
from restbroker.console import output
from restbroker.console.times import duration_s, local
from restbroker.errors import UsageError
from restbroker.job import claims
from restbroker.job.claims import Lock
from restbroker.operate.enqueue import JobRequest

_OF_EACH_ROW: Final = "-"
"""Stands for the keys of a file's rows."""


def retry(text: str) -> bool | int:
    """Return what --retry says, as a job has it. Raise `UsageError` if it is neither a number nor true nor false."""
    if text in ("true", "false"):
        return text == "true"
    if text.isascii() and text.isdigit() and len(text) <= 6:
        return int(text)
    raise UsageError("--retry takes a number, true or false.", "For example: --retry 3")


def key(option: str, typed: str | None) -> str | None:
    """Return the key that was typed with an option. Raise `UsageError` if it cannot be one."""
    from restbroker.job.fairness import LONGEST_KEY_BYTES, is_key

    if typed is not None and not is_key(typed):
        raise UsageError(
            f"{option} takes a string of 1 to {LONGEST_KEY_BYTES} bytes without control characters.",
            f"For example: {option} customer-7",
        )
    return typed


def require_future_expiry(request: JobRequest, expire: str | None, at: str | None) -> None:
    """Raise `UsageError` if the job would have expired when it is pushed: `expire` and `at` are as they were typed."""
    if request.expire_s is None or request.at_s is None:
        return
    expires_at_s = request.at_s + request.expire_s
    if expires_at_s <= time.time():
        raise UsageError(
            f"--expire {expire} after --at {at} is {local(expires_at_s)}, which is past: the job would never be sent.",
            "Name a later --at, or leave it out: then --expire counts from now.",
        )


def note_vain_keys(request: JobRequest, places: Sequence[Target]) -> None:
    """Say so if no target of these reads the key for which the request has a member."""
    names = ", ".join(place.name for place in places)
    if request.fair_key is not None and not any(place.takes_fair_key for place in places):
        output.say(f'note: --fair-key has no effect: no "FairBy": "fair_key" in this configuration of {names}.')
    if request.order_key is not None and not any(place.takes_order_key for place in places):
        output.say(f'note: --order-key has no effect: no "OrderBy": "order_key" in this configuration of {names}.')


def lock(key: str | None, lasts: str | None, *, is_bulk: bool) -> Lock | None:
    """Return the lock that these options ask for, without its name; None for none. Raise `UsageError`."""
    example = "For example: restbroker enqueue --unique nightly --unique-for 10m"
    if is_bulk and key is not None:
        raise UsageError("--unique is for one job; --bulk pushes many.", "Put the keys into a column _unique.")
    if is_bulk and lasts is not None:
        key = _OF_EACH_ROW
    if key is None and lasts is None:
        return None
    if key is None:
        raise UsageError("--unique-for is for --unique.", example)
    if lasts is None:
        raise UsageError("--unique needs --unique-for: how long the key counts at most.", example)
    if not claims.is_key(key):
        raise UsageError(f"--unique takes a string of 1 to {claims.MOST_BYTES} bytes.", example)
    return Lock("", key, duration_s("--unique-for", lasts, 366))


def rate(text: str | None) -> float | None:
    """Return the rows a second that --rate says; None: as fast as they go. Raise `UsageError` if it is no number."""
    if text is None:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1e9:
        raise UsageError("--rate takes a number: rows per second.", "For example: --rate 200")
    return rate


def require_one_job(options: Mapping[str, object]) -> None:
    """Raise `UsageError` if an option was given that only --bulk has: `options` are these by their names."""
    if named := next((option for option, value in options.items() if value), None):
        raise UsageError(f"--{named} is for --bulk.", "For example: restbroker enqueue register --bulk users.csv")
