"""Valid answers to the questions of `restbroker config init`, or values of its options; called by `cli.config_init`.

Always holds: `restbroker run` accepts what is returned; an error says what is wrong with this one answer, and shows no
password.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from restbroker.config.key import Members
from restbroker.config.kind import defaults_of
from restbroker.config.urls import BadUrl, redis_address, rest_address, without_login
from restbroker.config.values import is_plain
from restbroker.errors import UsageError
from restbroker.job.jid import BadAddress, printable, read_bare, read_domain

_OTHERS: Final = "For any other server, write a target of kind http by hand (docs/http.md)."


def kind(name: str, kinds: Mapping[str, Members]) -> str:
    """Return the kind that a name means (`prosody` stands for `prosody-rest`); raise `UsageError` if there is none.

    A kind that another package provides is not listed in that error, but can be named.
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
    """Return the server's address; raise `UsageError` if it is unusable or has a login in it."""
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
    """Return the address of Redis; raise `UsageError` if it is unusable."""
    try:
        redis_address(text)
    except BadUrl as bad:
        raise UsageError(str(bad)) from bad
    return text


def login(text: str, members: Members) -> str:
    """Return the user to log in as at a server of this kind; raise `UsageError` if that is no possible name there."""
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
            raise UsageError(f"The login {printable(text)} {bad.why}.", bad.hint) from bad
    return text


def password(text: str) -> str:
    """Return the password; raise `UsageError` if a file cannot hold it on one line."""
    if not text.strip() or not is_plain(text):
        raise UsageError("A password is one line, not blank, without control characters.")
    return text


def token_file(text: str) -> str:
    """Return where the file with a token is; raise `UsageError` if no token can be read there."""
    path = Path(text).expanduser().absolute()
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{printable(text)} cannot be read.", "Name a file that holds the token alone.") from None
    if not token or not is_plain(token) or " " in token:
        raise UsageError(f"{printable(text)} holds no token.", "A token is one line, without blanks.")
    return str(path)


def domain(text: str) -> str:
    """Return the virtual host; raise `UsageError` if it is no domain."""
    try:
        return read_domain(text)
    except BadAddress as bad:
        raise UsageError(f"The virtual host {printable(text)} {bad.why}.", bad.hint) from bad


def queue(text: str) -> str:
    """Return a queue's name as producers use it; raise `UsageError` if it is none."""
    plain = text.strip().removeprefix("queue:")
    if not plain or plain != text or "://" in text or not is_plain(text):
        hint = f"Write {printable(plain)}." if plain and "://" not in text and is_plain(plain) else "For example rest"
        raise UsageError(
            f'The queue {printable(text)!r} is not a queue name. Write it as producers do, without "queue:" in front.',
            hint,
        )
    return text
