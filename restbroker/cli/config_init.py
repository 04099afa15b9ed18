"""The questions of `restbroker config init`, and the files that their answers become. Called by `cli.config`.

Always holds: nothing is written before the last answer, nor anything that `restbroker run` would refuse; nothing is
overwritten; a password is read without being shown, and neither it nor the token is ever printed.
"""

import contextlib
import json
import secrets
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import attrs
import typer

from restbroker.config.key import Members
from restbroker.config.kind import defaults_of
from restbroker.config.load import load
from restbroker.config.setup import FLAT, REDIS, Answers, Setup, secret_names, setup
from restbroker.config.urls import BadUrl, RedisAddress, redis_address, rest_address, without_login
from restbroker.console import output
from restbroker.console.private_file import require_folder, write_new
from restbroker.errors import ConfigError, UsageError
from restbroker.events import registry as sources
from restbroker.servers import registry

T = TypeVar("T")
_TOKEN_BYTES: Final = 24
_QUEUE: Final = "rest"


@attrs.frozen(kw_only=True)
class Given:
    """What was said by options; None: it was not."""

    server: str | None = None
    url: str | None = None
    redis: str | None = None
    login: str | None = None
    password_file: Path | None = None
    domain: str | None = None
    queue: str | None = None
    stats: bool | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether no option was given."""
        return all(value is None for value in attrs.astuple(self, recurse=False))


def make(path: Path, given: Given, *, ask: bool) -> None:
    """Makes the files. `ask`: what was not given is asked for on the terminal; else it is as by default.

    Raises `UsageError` for an answer that cannot be, or where a file is there already or its folder is not.
    """
    require_folder(path)
    _refuse_existing([path, *map(path.with_name, secret_names(path.stem))])
    kinds = registry.kinds()
    if given.redis is not None and _redis(given.redis).password is not None:
        output.say(
            "note: A password on the command line can be seen by others on this machine, and stays in histories."
        )
    answers = _asked(given, kinds) if ask else _by_default(given, kinds)
    try:
        planned = setup(answers, path.stem, secrets.token_urlsafe(_TOKEN_BYTES))
    except BadUrl as bad:
        raise UsageError(str(bad), "Nothing was written.") from bad
    _write(path, planned)
    _tell_next(path, planned, answers)


def kind_of(name: str, kinds: Mapping[str, Members]) -> str:
    """The kind that is meant: `prosody` stands for `prosody-rest`. Raises `UsageError`.

    One that a package of others brings is not listed, and can be named.
    """
    known = [kind for kind, members in kinds.items() if defaults_of(members).url]
    for kind in (name, f"{name}-rest"):
        if kind in known:
            return kind
    brought = kinds.get(name)
    if brought is not None and defaults_of(brought).url:
        return name
    others = " For another server, write a target of kind http by hand (docs/http.md)."
    raise UsageError(f"There is no server {name!r}.", f"There are {', '.join(known)}.{others}")


def _by_default(given: Given, kinds: Mapping[str, Members]) -> Answers:
    kind = kind_of(given.server or FLAT, kinds)
    password = _piped_password() if str(given.password_file) == "-" else None
    file = None if password is not None or given.password_file is None else given.password_file.absolute()
    if given.login and password is None and file is None:
        raise UsageError(
            f"The password of {given.login} is not given.",
            "Add --password-file FILE, or - to have it read from standard input.",
        )
    if not given.login and given.password_file is not None:
        raise UsageError("There is a password and no login.", "Add --login USER.")
    return Answers(
        kind,
        given.url or defaults_of(kinds[kind]).url,
        given.redis or REDIS,
        _name_of(given.login or None, kinds[kind]),
        given.domain or _domain_of(given.login),
        given.queue or _QUEUE,
        bool(given.stats),
        password,
        file,
    )


def _piped_password() -> str:
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise UsageError("No password came from standard input.", "It is the first line there.")
    return password


def _asked(given: Given, kinds: Mapping[str, Members]) -> Answers:
    output.say("Five questions; Enter takes what stands in brackets. Nothing is written before the last answer.")
    names = ", ".join(kind for kind, members in kinds.items() if defaults_of(members).url)
    kind = _answer(given.server, f"1. Which server ({names})", FLAT, lambda text: kind_of(text, kinds))
    url = _answer(given.url, "2. Its URL", defaults_of(kinds[kind]).url, _rest_url)
    redis = _answer(given.redis, "3. Redis", REDIS, _redis_url)
    login, password = _login(given, kinds[kind])
    user = _name_of(login, kinds[kind])
    domain = given.domain or _domain_of(login)
    if domain is None:
        domain = _answer(None, "   The virtual host that jobs are about (empty: each job names it)", "", str) or None
    queue = _answer(given.queue, "5. The queue that jobs come in", _QUEUE, str)
    return Answers(kind, url, redis, user, domain, queue, bool(given.stats), password, _file_of(given, password))


def _name_of(login: str | None, kind: Members) -> str | None:
    """The login as servers of this kind take it: some refuse a whole JID."""
    usual = defaults_of(kind).login
    if login is None or usual is None or "@" in usual or "@" not in login:
        return login
    name = login.rpartition("@")[0]
    output.say(f"note: The server takes the name alone, without its domain: the login is {name}.")
    return name


def _login(given: Given, kind: Members) -> tuple[str | None, str | None]:
    """The login and its password; None for what there is not, or is in a file already."""
    usual = defaults_of(kind).login
    form = "" if usual is None else f" ({'a whole JID' if '@' in usual else 'the name alone'}, as {usual})"
    user = _answer(given.login, f"4. The login there{form}; empty: none", "", str) or None
    if user is None or _file_of(given, None) is not None:
        return user, None
    hidden = typer.prompt(f"   The password of {user} (not shown)", hide_input=True, err=True)
    return user, str(hidden)


def _file_of(given: Given, password: str | None) -> Path | None:
    named = given.password_file
    return None if password is not None or named is None or str(named) == "-" else named.absolute()


def _answer(given: str | None, question: str, default: str, read: Callable[[str], T]) -> T:
    """What was given by an option, else what is answered; asked again until it can be."""
    if given is not None:
        return read(given)
    while True:
        typed = typer.prompt(question, default=default, show_default=bool(default), err=True)
        try:
            return read(str(typed).strip())
        except UsageError as error:
            output.say(f"   {error.message}" + (f" {error.cure}" if error.cure else ""))


def _rest_url(text: str) -> str:
    try:
        found = rest_address(text)
    except BadUrl as bad:
        raise UsageError(str(bad)) from bad
    if found.credentials is not None:
        raise UsageError(f"Leave the login out of {without_login(text)}: it is asked for by itself (--login).")
    return text


def _redis_url(text: str) -> str:
    _redis(text)
    return text


def _redis(text: str) -> RedisAddress:
    try:
        return redis_address(text)
    except BadUrl as bad:
        raise UsageError(str(bad)) from bad


def _domain_of(user: str | None) -> str | None:
    return (user or "").partition("@")[2] or None


def _refuse_existing(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.exists():
            raise UsageError(f"{path} exists already; nothing was changed.", "Name another file, or remove it.")


def _write(path: Path, planned: Setup) -> None:
    """All files or none. The configuration is the last: who finds it finds its secrets, too."""
    files = {path.with_name(name): f"{secret}\n" for name, secret in planned.secrets.items()}
    files[path] = json.dumps(planned.document, indent=2) + "\n"
    written: list[Path] = []
    try:
        for file, text in files.items():
            write_new(file, text)
            written.append(file)
        # By itself, whatever else this shell's variables say.
        load(path, {}, {}, registry.kinds(), sources.kinds())
    except BaseException as error:
        for file in written:
            with contextlib.suppress(OSError):
                file.unlink()
        if isinstance(error, ConfigError):
            raise UsageError(f"{error.message}\nNothing was left there.", error.cure or "") from error
        raise


def _tell_next(path: Path, planned: Setup, answers: Answers) -> None:
    beside = ", ".join(planned.secrets)
    output.say(f"Wrote {path}, and beside it {beside}: all for your eyes only (mode 0600).")
    output.say("The user that restbroker runs as must be able to read them. What producers push needs the token.")
    where = "" if path == Path("env.json") else f" --config {shlex.quote(str(path))}"
    first = "status" if answers.kind == FLAT else "COMMAND"
    output.say(
        "What to do next:\n"
        f"  restbroker check{where}            is all of it right?\n"
        f"  restbroker check --suggest{where}  the lines that the server's own file needs\n"
        f"  restbroker run{where}              serve the queue {answers.queue}\n"
        f"  restbroker enqueue --wait {first}{where}"
    )
