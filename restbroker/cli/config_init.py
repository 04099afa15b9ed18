"""The questions of `restbroker config init`, and the files that are made of the answers; called by `cli.config`.

Always holds: after an unusable answer the question is repeated at once, with what is wrong; nothing is written before
the last answer, and nothing that `restbroker run` would refuse; nothing is overwritten; a password is read without
being shown, and neither it nor the token is ever printed.
"""

import contextlib
import json
import secrets
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import attrs
import typer

from restbroker.cli import config_answers
from restbroker.config.key import Members
from restbroker.config.kind import defaults_of
from restbroker.config.load import load
from restbroker.config.setup import FLAT, REDIS, Answers, Setup, secret_names, setup
from restbroker.config.urls import BadUrl, redis_address
from restbroker.console import completion, output
from restbroker.console.exits import Exit
from restbroker.console.private_file import require_folder, write_new
from restbroker.errors import ConfigError, UsageError
from restbroker.events import registry as sources
from restbroker.servers import registry

_Read: TypeAlias = Callable[[str], str]
"""Returns the meaning of an answer; raises `UsageError` for an unusable one."""
_TOKEN_BYTES: Final = 24
_QUEUE: Final = "rest"


@attrs.frozen(kw_only=True)
class InitOptions:
    """The options of the command line; None: the option was not used."""

    server: Annotated[
        str | None,
        typer.Option(
            metavar="SERVER",
            help="The server: ejabberd, mongooseim, openfire-chat, openfire-rest (or openfire), prosody-rest (or "
            "prosody), prosody-roster, or the kind of another package.",
        ),
    ] = None
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="The URL of its API. (default: that server's own default)")
    ] = None
    redis: Annotated[str | None, typer.Option(metavar="URL", help=f"Where Redis is. (default: {REDIS})")] = None
    login: Annotated[str | None, typer.Option(metavar="USER", help="The user to log in as. (default: no login)")] = None
    password_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The file with its password, which stays there; - reads standard input.",
            autocompletion=completion.paths,
        ),
    ] = None
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The file with a bearer token, used instead of a login.",
            autocompletion=completion.paths,
        ),
    ] = None
    domain: Annotated[
        str | None, typer.Option(metavar="HOST", help="The virtual host of the jobs. (default: the login's)")
    ] = None
    queue: Annotated[
        str | None, typer.Option(metavar="QUEUE", help="The queue that producers push to. (default: rest)")
    ] = None
    stats: Annotated[bool | None, typer.Option(help="Serve the web pages, on loopback.", show_default=False)] = None

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
    _refuse_existing([path, *map(path.with_name, secret_names(path.stem))])
    kinds = registry.kinds()
    _require_valid(given)
    answers = _ask(given, kinds) if ask else _default_answers(given, kinds)
    try:
        planned = setup(answers, path.stem, secrets.token_urlsafe(_TOKEN_BYTES))
    except BadUrl as bad:
        raise UsageError(str(bad), "Nothing was written.") from bad
    _write(path, planned)
    code = _offer_test(path) if ask else None
    _print_next_steps(path, answers, tested=code)
    if code:
        raise typer.Exit(code)


def _require_valid(given: InitOptions) -> None:
    """Raise `UsageError` for an option that is wrong by itself, before the first question."""
    for value, read in (
        (given.url, config_answers.url),
        (given.domain, config_answers.domain),
        (given.queue, config_answers.queue),
    ):
        if value:
            read(value)
    if given.token_file is not None and (given.login is not None or given.password_file is not None):
        raise UsageError("There is a login and a token.", "Give either --login or --token-file.")
    if given.redis and redis_address(config_answers.redis(given.redis)).password is not None:
        output.say(
            "note: Others on this machine can see a password on the command line, and it stays in the shell's history."
        )


def _default_answers(given: InitOptions, kinds: Mapping[str, Members]) -> Answers:
    kind = config_answers.kind(given.server or FLAT, kinds)
    login = config_answers.login(given.login, kinds[kind]) if given.login else None
    password = _piped_password() if str(given.password_file) == "-" else None
    file = None if password is not None or given.password_file is None else given.password_file.absolute()
    if login is not None and password is None and file is None:
        raise UsageError(
            f"The password of {login} is not given.",
            "Add --password-file FILE, or --password-file - to read it from standard input.",
        )
    if login is None and given.password_file is not None:
        raise UsageError("There is a password but no login.", "Add --login USER.")
    return Answers(
        kind,
        given.url or defaults_of(kinds[kind]).url,
        given.redis or REDIS,
        user=_name_of(login, kinds[kind]),
        domain=given.domain or _domain_of(login),
        queue=given.queue or _QUEUE,
        stats=bool(given.stats),
        password=password,
        password_file=file,
        token_file=_token_file(given),
    )


def _piped_password() -> str:
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise UsageError("Standard input had no password.", "Write it on the first line.")
    return config_answers.password(password)


def _ask(given: InitOptions, kinds: Mapping[str, Members]) -> Answers:
    output.say("A few questions; Enter takes the value in brackets. Nothing is written before the last answer.")
    ask = _Questions()
    names = ", ".join(kind for kind, members in kinds.items() if defaults_of(members).url)
    kind = ask(given.server, f"Which server ({names})", FLAT, lambda text: config_answers.kind(text, kinds))
    members = kinds[kind]
    url = ask(given.url, "Its URL", defaults_of(members).url, config_answers.url)
    redis = ask(given.redis, "Redis", REDIS, config_answers.redis)
    form = f"The login{_form(members)}; empty: none"
    login = given.login if given.token_file is None else ""
    login = ask(login, form, "", _optional(lambda text: config_answers.login(text, members)))
    password = None if not login or _file_of(given, None) is not None else _password(login)
    token_file = _token_file(given)
    if not login and token_file is None and defaults_of(members).takes_token:
        token_file = _ask_token_file()
    domain = given.domain or _domain_of(login)
    if domain is None:
        form = "The virtual host of the jobs (empty: each job names it)"
        domain = ask(None, form, "", _optional(config_answers.domain))
    queue = ask(given.queue, "The queue that producers push to", _QUEUE, config_answers.queue)
    user, file = _name_of(login or None, members), _file_of(given, password)
    stats = bool(given.stats)
    return Answers(
        kind,
        url,
        redis,
        user=user,
        domain=domain or None,
        queue=queue,
        stats=stats,
        password=password,
        password_file=file,
        token_file=token_file,
    )


@attrs.frozen
class _Questions:
    """Asks questions one after the other, each with its number."""

    numbers: Iterator[int] = attrs.field(factory=lambda: count(1))

    def __call__(self, given: str | None, question: str, default: str, read: _Read) -> str:
        """Return the value of the option, otherwise the answer; the question is repeated until its answer is usable."""
        if given is not None:
            return read(given)
        numbered = f"{next(self.numbers)}. {question}"
        return _answer(numbered, lambda text: read(text.strip()), default=default, show_default=bool(default))


def _answer(question: str, read: _Read, **how: Any) -> str:  # noqa: ANN401 - as typer.prompt
    while True:
        try:
            return read(str(typer.prompt(question, err=True, **how)))
        except UsageError as error:
            output.say(f"   {error.message}" + (f" {error.hint}" if error.hint else ""))


def _form(kind: Members) -> str:
    usual = defaults_of(kind).login
    return "" if usual is None else f" ({'a whole JID' if '@' in usual else 'the name alone'}, as {usual})"


def _password(login: str) -> str:
    return _answer(f"   The password of {login} (not shown)", config_answers.password, hide_input=True)


def _ask_token_file() -> Path | None:
    read = _optional(config_answers.token_file)
    found = _answer(
        "   The file with a bearer token in its place; empty: none",
        lambda text: read(text.strip()),
        default="",
        show_default=False,
    )
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


def _file_of(given: InitOptions, password: str | None) -> Path | None:
    named = given.password_file
    return None if password is not None or named is None or str(named) == "-" else named.absolute()


def _token_file(given: InitOptions) -> Path | None:
    return None if given.token_file is None else given.token_file.absolute()


def _domain_of(user: str | None) -> str | None:
    return (user or "").partition("@")[2] or None


def _refuse_existing(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.exists():
            raise UsageError(f"{path} exists already; nothing was changed.", "Name another file, or remove it.")


def _write(path: Path, planned: Setup) -> None:
    """Write all files or none, the configuration last: once it is there, so are its secrets."""
    files = {path.with_name(name): f"{secret}\n" for name, secret in planned.secrets.items()}
    files[path] = json.dumps(planned.document, indent=2) + "\n"
    written: list[Path] = []
    try:
        for file, text in files.items():
            write_new(file, text)
            written.append(file)
        # By itself, whatever else this shell's variables say.
        load(path, {}, {}, kinds=registry.kinds(), sources=sources.kinds())
    except BaseException as error:
        for file in written:
            with contextlib.suppress(OSError):
                file.unlink()
        if isinstance(error, ConfigError):
            raise UsageError(f"{error.message}\nNo file was left behind.", error.hint or "") from error
        raise
    beside = ", ".join(planned.secrets)
    output.say(f"Wrote {path}, and beside it {beside}: only you can read them (mode 0600).")
    output.say("The user that runs restbroker must be able to read them. Producers need the token.")


def _offer_test(path: Path) -> Exit | None:
    """Return the exit code of `restbroker check`, or None if the person wants no test."""
    if not typer.confirm("Test the connection to Redis and to the server now?", default=True, err=True):
        return None
    from restbroker.cli.check import report  # it loads Trio and the server's connector

    return report(path, as_json=False)


def _print_next_steps(path: Path, answers: Answers, *, tested: Exit | None) -> None:
    where = "" if path == Path("env.json") else f" --config {shlex.quote(str(path))}"
    first = "status" if answers.kind == FLAT else "COMMAND"
    check = "" if tested is Exit.OK else f"  restbroker check{where}            test everything\n"
    first_of_all = "What to do next" if tested in (None, Exit.OK) else "Correct the problems above. Then"
    output.say(
        f"{first_of_all}:\n"
        f"{check}"
        f"  restbroker check --suggest{where}  the lines that the server's own file needs\n"
        f"  restbroker run{where}              serve the queue {answers.queue}\n"
        f"  restbroker enqueue --wait {first}{where}"
        + ("" if answers.stats else f"\n  restbroker web{where}              serve the web pages (docs/web.md)")
    )
