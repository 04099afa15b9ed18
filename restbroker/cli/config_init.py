"""The questions of `restbroker config init`, and the files that are made of the answers; called by `cli.config`.

Always holds: after an unusable answer the question is repeated at once, with what is wrong; nothing is written before
the last answer, and nothing that `restbroker run` would refuse; nothing is overwritten; a password is read without
being shown, and neither it nor the token is ever printed; the new password of the pages is, once, for who was asked.
"""

import contextlib
import json
import re
import secrets
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import attrs
import typer

from restbroker.config.key import Members
from restbroker.config.kind import defaults_of
from restbroker.config.load import load
from restbroker.config.setup import ALERTS_PATH, REDIS, STATS_USER, Setup, SetupAnswers, secret_names, setup
from restbroker.config.urls import BadUrl, redis_address, rest_address, without_login
from restbroker.config.values import is_plain
from restbroker.console import completion, output
from restbroker.console.exits import Exit
from restbroker.console.options import option
from restbroker.console.private_file import readers, require_folder, write_new
from restbroker.errors import ConfigError, UsageError
from restbroker.events import registry as sources
from restbroker.job.jid import BadAddress, printable, read_bare, read_domain
from restbroker.kinds import FLAT, HTTP, TARGETS
from restbroker.light import field, frozen
from restbroker.operate import unit
from restbroker.servers import registry

_Read: TypeAlias = Callable[[str], str]
"""Returns the meaning of an answer; raises `UsageError` for an unusable one."""
_TOKEN_BYTES: Final = 24
_STATS_PASSWORD_BYTES: Final = 12
_PAGES: Final = "Serve web pages, for this machine alone and with a login"
_ALERTS: Final = "The person (not a room) who gets messages from monitoring or CI (empty: nobody)"
_TO: Final = "ejabberd: the person (not a room) who gets messages from monitoring or CI. (default: nobody)"
_PASTE: Final = "Give monitoring or CI this address as Slack's webhook (while it runs)"
_QUEUE: Final = "rest"
_NAMES: Final = [
    f"{kind} (or {kind.removesuffix('-rest')})" if kind.endswith("-rest") else kind for kind in TARGETS if kind != HTTP
]
_SERVERS: Final = f"The server: {', '.join(_NAMES)}, or the kind of another package."
_LOGIN_FILE: Final = "The file with its password, which stays there; - reads standard input."
_AUTH: Final = "ejabberd: log in with tokens that it issues, else the password (auto), or always the password (basic)."
_BEARER_FILE: Final = "The file with a bearer token, used instead of a login."
_OTHERS: Final = "For any other server, write a target of kind http by hand (docs/http.md)."


@frozen(kw_only=True)
class InitOptions:
    """The options of the command line; None: the option was not used."""

    server: Annotated[str | None, option("SERVER", _SERVERS)] = None
    url: Annotated[str | None, option("URL", "The URL of its API. (default: that server's own default)")] = None
    redis: Annotated[str | None, option("URL", f"Where Redis is. (default: {REDIS})")] = None
    login: Annotated[str | None, option("USER", "The user to log in as. (default: no login)")] = None
    password_file: Annotated[Path | None, option("FILE", _LOGIN_FILE, completion.paths)] = None
    auth: Annotated[str | None, option("HOW", _AUTH)] = None
    token_file: Annotated[Path | None, option("FILE", _BEARER_FILE, completion.paths)] = None
    domain: Annotated[str | None, option("HOST", "The virtual host of the jobs. (default: the login's)")] = None
    queue: Annotated[str | None, option("QUEUE", "The queue that producers push to. (default: rest)")] = None
    alerts_to: Annotated[str | None, option("JID", _TO)] = None
    stats: Annotated[bool | None, option("", "Serve the web pages, on loopback.", show_default=False)] = None

    @property
    def is_empty(self) -> bool:
        """Whether no option was used."""
        return all(value is None for value in attrs.astuple(self, recurse=False))


def make(path: Path, given: InitOptions, *, ask: bool) -> None:
    """Write the files; with `ask`, ask on the terminal for what no option says, otherwise use the defaults.

    Raise `UsageError` for an unusable option, or if a file exists already or its folder does not. If the person then
    wants a test, end with the exit code of `restbroker check`.
    """
    require_folder(path)
    for file in (path, *map(path.with_name, secret_names(path.stem))):
        if file.exists():
            raise UsageError(f"{file} exists already; nothing was changed.", "Name another file, or remove it.")
    kinds = registry.kinds()
    _require_valid(given)
    answers = _answers(given, kinds, ask=ask)
    planned = setup(answers, path.stem, lambda: secrets.token_urlsafe(_TOKEN_BYTES))
    _write(path, planned)
    code = _offer_test(path) if ask else None
    *_, of_stats, _, of_alerts = secret_names(path.stem)
    password = answers.stats_password if ask else f"in {path.with_name(of_stats)}"
    _print_next_steps(path, answers, password, tested=code)
    if answers.alerts_to is not None:
        secret = planned.secrets[of_alerts] if ask else f"SECRET (in {path.with_name(of_alerts)})"
        output.say(f"{_PASTE}:", f"  http://127.0.0.1:8081{ALERTS_PATH}/{secret}")
    if code:
        raise typer.Exit(code)


def _require_valid(given: InitOptions) -> None:
    """Raise `UsageError` for an option that is wrong by itself, before the first question."""
    for value, read in ((given.url, _read_url), (given.domain, _read_domain), (given.queue, _read_queue)):
        if value:
            read(value)
    if given.token_file is not None and (given.login is not None or given.password_file is not None):
        raise UsageError("There is a login and a token.", "Give either --login or --token-file.")
    if given.redis and redis_address(_read_redis(given.redis)).password is not None:
        output.say(
            "note: Others on this machine can see a password on the command line, and it stays in the shell's history."
        )


def _answers(given: InitOptions, kinds: Mapping[str, Members], *, ask: bool) -> SetupAnswers:
    """Return the answers; a question that is not asked has its default."""
    if ask:
        output.say("A few questions; Enter takes the value in brackets. Nothing is written before the last answer.")
    question = _Questions(ask)
    names = ", ".join(kind for kind, members in kinds.items() if defaults_of(members).url)
    kind = question(given.server, f"Which server ({names})", FLAT, lambda text: _read_kind(text, kinds))
    members = kinds[kind]
    url = question(given.url, "Its URL", defaults_of(members).url, _read_url)
    redis = question(given.redis, "Redis", REDIS, _read_redis)
    form = f"The login{_form(members)}; empty: none"
    of_login = _optional(lambda text: _read_login(text, members))
    login = question(given.login if given.token_file is None else "", form, "", of_login)
    file = None if given.password_file in (None, Path("-")) else given.password_file
    if not login and given.password_file is not None:
        raise UsageError("There is a password but no login.", "Add --login USER.")
    password = None if not login or file is not None else _password(login) if ask else _piped_password(login, given)
    auth = None
    if login and kind == FLAT:
        form = "Log in with tokens that it issues (auto) or the password (basic)"
        auth = question(given.auth, form, "auto", _read_auth)
    elif given.auth is not None:
        raise UsageError("--auth is for the login at an ejabberd.", "Leave it out, or add --login USER.")
    token_file = given.token_file
    if ask and not login and token_file is None and defaults_of(members).takes_token:
        token_file = _ask_token_file()
    domain = given.domain or login.partition("@")[2]
    if not domain:
        form = "The virtual host of the jobs (empty: each job names it)"
        domain = question(None, form, "", _optional(_read_domain))
    queue = question(given.queue, "The queue that producers push to", _QUEUE, _read_queue)
    if kind != FLAT and given.alerts_to is not None:
        raise UsageError("--alerts-to is for an ejabberd.", "Write the source by hand (docs/events.md).")
    to = question(given.alerts_to, _ALERTS, "", _optional(_read_person)) if kind == FLAT else ""
    return SetupAnswers(
        kind,
        url,
        redis,
        queue=queue,
        user=_name_of(login or None, members),
        domain=domain or None,
        stats_password=secrets.token_urlsafe(_STATS_PASSWORD_BYTES) if question.confirm(given.stats, _PAGES) else None,
        auth=auth,
        password=password,
        password_file=file and file.absolute(),
        token_file=token_file and token_file.absolute(),
        alerts_to=to or None,
    )


def _piped_password(login: str, given: InitOptions) -> str:
    if given.password_file is None:
        hint = "Add --password-file FILE, or --password-file - to read it from standard input."
        raise UsageError(f"The password of {login} is not given.", hint)
    return _read_password(sys.stdin.readline().rstrip("\r\n"))


@frozen
class _Questions:
    """Asks questions one after the other, each with its number; or none at all."""

    asks: bool
    numbers: Iterator[int] = field(factory=lambda: count(1))

    def __call__(self, given: str | None, question: str, default: str, read: _Read) -> str:
        """Return the value of the option, otherwise the answer; the question is repeated until its answer is usable."""
        if given is not None or not self.asks:
            return read(default if given is None else given)
        return _answer(f"{next(self.numbers)}. {question}", read, default=default, show_default=bool(default))

    def confirm(self, given: bool | None, question: str) -> bool:
        """Return the option, otherwise the answer, by default yes; nothing is opened that a script did not ask for."""
        if given is not None or not self.asks:
            return bool(given)
        return typer.confirm(f"{next(self.numbers)}. {question}", default=True, err=True)


def _answer(question: str, read: _Read, **how: Any) -> str:  # noqa: ANN401 - as typer.prompt
    while True:
        try:
            given = str(typer.prompt(question, err=True, **how))
            return read(given if "hide_input" in how else given.strip())
        except UsageError as error:
            output.say(f"   {error.message}" + (f" {error.hint}" if error.hint else ""))


def _form(kind: Members) -> str:
    usual = defaults_of(kind).login
    return "" if usual is None else f" ({'a whole JID' if '@' in usual else 'the name alone'}, as {usual})"


def _password(login: str) -> str:
    return _answer(f"   The password of {login} (not shown)", _read_password, hide_input=True)


def _ask_token_file() -> Path | None:
    words = "   The file with a bearer token in its place; empty: none"
    found = _answer(words, _optional(_read_token_file), default="", show_default=False)
    return Path(found) if found else None


def _optional(read: _Read) -> _Read:
    """Return a reader that also accepts an empty answer."""
    return lambda text: read(text) if text else text


def _name_of(login: str | None, kind: Members) -> str | None:
    """Return the login as servers of this kind take it, since some refuse a whole JID; None without a login."""
    usual = defaults_of(kind).login
    if login is None or usual is None or "@" in usual or "@" not in login:
        return login
    name = login.rpartition("@")[0]
    output.say(f"note: The server takes the name alone, without its domain: the login is {name}.")
    return name


def _write(path: Path, planned: Setup) -> None:
    """Write all files or none, the configuration last: once it is there, so are its secrets."""
    files = {path.with_name(name): f"{secret}\n" for name, secret in planned.secrets.items()}
    files[path] = json.dumps(planned.document, indent=2) + "\n"
    with contextlib.ExitStack() as undo:
        for file, text in files.items():
            write_new(file, text)
            undo.callback(file.unlink, missing_ok=True)
        try:
            # By itself, whatever else this shell's variables say.
            load(path, {}, {}, kinds=registry.kinds(), sources=sources.kinds())
        except ConfigError as error:
            raise ConfigError(f"{error.message}\nNo file was left behind.", error.hint or "") from error
        undo.pop_all()
    beside = ", ".join(planned.secrets)
    output.say(f"Wrote {path}, and next to it {beside}.")
    output.say(f"{readers(path)} can read them. The user that runs restbroker must be able to.")
    output.say("Producers need the token.")


def _offer_test(path: Path) -> Exit | None:
    """Return the exit code of `restbroker check`, or None if the person wants no test."""
    if not typer.confirm("Test the connection to Redis and to the server now?", default=True, err=True):
        return None
    from restbroker.cli.check import report  # it loads Trio and the server's connector

    return report(path, as_json=False)


def _print_next_steps(path: Path, answers: SetupAnswers, password: str | None, *, tested: Exit | None) -> None:
    where = "" if path == Path("env.json") else f" --config {shlex.quote(str(path))}"
    first = "status" if answers.kind == FLAT else "COMMAND"
    check = [] if tested is Exit.OK else [f"  restbroker check{where}            test everything"]
    pages = f"restbroker web{where}              serve the web pages (docs/web.md)"
    if answers.stats_password is not None:
        pages = f"http://127.0.0.1:8080/      the web pages, while it runs: user {STATS_USER}, password {password}"
    first_of_all = "What to do next" if tested in (None, Exit.OK) else "Correct the problems above. Then"
    suggest = f"  restbroker check --suggest{where}  the lines that the server's own file needs"
    serves = f"  restbroker run{where}              serve the queue {answers.queue}"
    if unit.unit_with(path) is not None:
        serves = f"  systemctl enable --now {unit.NAME}   serve the queue {answers.queue}, now and at each boot"
    output.say(
        f"{first_of_all}:",
        *check,
        *([] if tested is Exit.OK else [suggest]),
        serves,
        f"  restbroker enqueue --wait {first}{where}",
        f"  {pages}",
    )


def _read_kind(name: str, kinds: Mapping[str, Members]) -> str:
    """Return the kind that a name means (`prosody` stands for `prosody-rest`); raise `UsageError` if there is none.

    A kind that another package provides is not listed in that error, but can be named.
    """
    for queue in (name, f"{name}-rest"):
        if (members := kinds.get(queue)) is not None and defaults_of(members).url:
            return queue
    known = [kind for kind, members in kinds.items() if defaults_of(members).url]
    raise UsageError(f"There is no server {name!r}.", f"There are {', '.join(known)}. {_OTHERS}")


def _read_url(text: str) -> str:
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


def _read_redis(text: str) -> str:
    """Return the address of Redis; raise `UsageError` if it is unusable."""
    try:
        redis_address(text)
    except BadUrl as bad:
        raise UsageError(str(bad)) from bad
    return text


def _read_login(text: str, members: Members) -> str:
    """Return the user to log in as at a server of this kind; raise `UsageError` if that is no possible name there."""
    usual = defaults_of(members).login or ""
    if ":" in text or not is_plain(text):
        raise UsageError(
            f"The login {printable(text)} contains a colon or a control character, which HTTP does not allow."
        )
    if "@" in usual and "@" not in text:
        raise UsageError(f"The server takes a whole JID, not {printable(text)} alone.", f"For example {usual}")
    if "@" in text:
        _check_address("The login", text, read_bare)
    return text


def _read_auth(text: str) -> str:
    if text not in ("auto", "basic"):
        raise UsageError(f"There is no way {printable(text)!r} to log in.", "Write auto or basic.")
    return text


def _read_password(text: str) -> str:
    """Return the password; raise `UsageError` if a file cannot hold it on one line."""
    if not text.strip() or not is_plain(text):
        raise UsageError("A password is one line, not blank, without control characters.")
    return text


def _read_token_file(text: str) -> str:
    """Return where the file with a token is; raise `UsageError` if no token can be read there."""
    path = Path(text).expanduser().absolute()
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{printable(text)} cannot be read.", "Name a file that holds the token alone.") from None
    if not token or not is_plain(token) or " " in token:
        raise UsageError(f"{printable(text)} holds no token.", "A token is one line, without blanks.")
    return str(path)


def _read_domain(text: str) -> str:
    """Return the virtual host; raise `UsageError` if it is no domain."""
    return _check_address("The virtual host", text, read_domain)


def _read_person(text: str) -> str:
    """Return the address; raise `UsageError` if it is none of a person: a room's, or with signs of a template."""
    _check_address("The user", text if "@" in text else f"{text}@", read_bare)
    if re.search(r"[{}]|@(conference|muc|rooms)\.", text):
        raise UsageError(f"{printable(text)} is not a person's address.", "Rooms need more: docs/recipes-events.md.")
    return text


def _check_address(what: str, text: str, read: Callable[[str], object]) -> str:
    try:
        read(text)
    except BadAddress as bad:
        raise UsageError(f"{what} {printable(text)} {bad.why}.", bad.hint) from bad
    return text


def _read_queue(text: str) -> str:
    """Return a queue's name as producers use it; raise `UsageError` if it is none."""
    if not text.strip() or text != text.strip().removeprefix("queue:") or "://" in text or not is_plain(text):
        message = f"The queue {printable(text)!r} is not a queue name."
        raise UsageError(message, 'Write it as producers do, without "queue:" in front, for example rest.')
    return text
