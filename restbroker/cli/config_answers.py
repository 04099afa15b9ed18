"""What may be answered to a question of `restbroker config init`, or said by its options. Called by `cli.config_init`.

Always holds: what is returned, `restbroker run` takes; an error says what is wrong with this one answer, and shows no
password.
"""

from collections.abc import Mapping
from typing import Final

from restbroker.config.key import Members
from restbroker.config.kind import defaults_of
from restbroker.config.urls import BadUrl, redis_address, rest_address, without_login
from restbroker.config.values import is_plain
from restbroker.errors import UsageError
from restbroker.job.jid import BadAddress, printable, read_bare, read_domain

_OTHERS: Final = "For any other server, write a target of kind http by hand (docs/http.md)."


def kind(name: str, kinds: Mapping[str, Members]) -> str:
    """The kind that is meant: `prosody` stands for `prosody-rest`. Raises `UsageError`.

    One that a package of others brings is not listed, and can be named.
    """
    known = [one for one, members in kinds.items() if defaults_of(members).url]
    for one in (name, f"{name}-rest"):
        if one in known:
            return one
    brought = kinds.get(name)
    if brought is not None and defaults_of(brought).url:
        return name
    raise UsageError(f"There is no server {name!r}.", f"There are {', '.join(known)}. {_OTHERS}")


def url(text: str) -> str:
    """The server's address, without a login in it. Raises `UsageError`."""
    try:
        found = rest_address(text)
    except BadUrl as bad:
        raise UsageError(str(bad)) from bad
    if found.credentials is not None:
        raise UsageError(
            f"Leave the login out of {without_login(text)}: there is a separate question for it (--login)."
        )
    return text


def redis(text: str) -> str:
    """The address of Redis. Raises `UsageError`."""
    try:
        redis_address(text)
    except BadUrl as bad:
        raise UsageError(str(bad)) from bad
    return text


def login(text: str, members: Members) -> str:
    """The user that logs in at a server of this kind. Raises `UsageError`."""
    usual = defaults_of(members).login or ""
    if ":" in text or not is_plain(text):
        raise UsageError(
            f"The login {printable(text)} contains a colon or a control character, which HTTP does not allow."
        )
    if "@" in usual and "@" not in text:
        raise UsageError(f"The server takes a whole JID, not {printable(text)} alone.", f"For example {usual}")
    if "@" in text:
        try:
            read_bare(text)
        except BadAddress as bad:
            raise UsageError(f"The login {printable(text)} {bad.why}.", bad.cure) from bad
    return text


def password(text: str) -> str:
    """A password that a file can hold on one line. Raises `UsageError`."""
    if not text.strip() or not is_plain(text):
        raise UsageError("A password is one line, not blank, without control characters.")
    return text


def domain(text: str) -> str:
    """A virtual host. Raises `UsageError`."""
    try:
        return read_domain(text)
    except BadAddress as bad:
        raise UsageError(f"The virtual host {printable(text)} {bad.why}.", bad.cure) from bad


def queue(text: str) -> str:
    """A queue's name as producers say it. Raises `UsageError`."""
    plain = text.strip().removeprefix("queue:")
    if not plain or plain != text or "://" in text or not is_plain(text):
        cure = f"Write {printable(plain)}." if plain and "://" not in text and is_plain(plain) else "For example rest"
        raise UsageError(
            f'The queue {printable(text)!r} is not a queue name. Write it as producers do, without "queue:" in front.',
            cure,
        )
    return text
