"""A kind of server whose commands are one request each: what differs from kind to kind, as data and pure functions.

Public: a kind of another package is a file with such an object (docs/write-a-server-kind.md). Always holds: loads no
Trio before a connector is opened, since shell commands that push a job read the file, too; an answer that may be that
of a proxy kills no job.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, get_args

import attrs

from restbroker.config.target import Target
from restbroker.job.command import DANGEROUS, Call, Catalogue, CommandSpec, Repeat
from restbroker.job.json_types import Json
from restbroker.job.outcome import Outcome
from restbroker.light import field, frozen
from restbroker.servers.api.answer import Answer, AnswerForm, Parse, deliver_as_is, read, read_for
from restbroker.servers.api.health import Health, standard_health
from restbroker.servers.api.ladder import Ladder, Rung, ladder, standard
from restbroker.servers.api.request import (
    Headers,
    authorization,
    harmless_request,
    json_body,
    path_of,
    query_of,
    segment,
)
from restbroker.servers.api.table import (
    PARTS,
    Arguments,
    dangerous_commands_of,
    fit,
    names_in,
    specs_of,
    without_host,
)
from restbroker.servers.api.texts import parse_json
from restbroker.transport.message import Request, Response

if TYPE_CHECKING:
    from restbroker.servers.contract import Connector, Ports

_BODILESS: Final = ("GET", "HEAD", "DELETE")


@frozen(eq=False)
class Row:
    """One command. `request`: its method, its path, and the names of its query: `GET /users/{user}/rooms?limit&from`.

    `takes`: its arguments. `touches`: what of the server itself it touches (`server`, `files`, `code`, …), so that a
    token must allow it by `dangerous:`. `tags`: words to list commands by. `timeout_s`: how long it may take, if longer
    than the target's time-out.
    """

    name: str
    request: str
    repeat: Repeat = field(validator=attrs.validators.in_(get_args(Repeat)))
    takes: Arguments = field(converter=Arguments)
    touches: str = ""
    tags: tuple[str, ...] = ()
    timeout_s: float | None = None
    parts: tuple[str, str, tuple[str, ...]] = field(init=False, default=PARTS)
    """Method, path and names of the query."""
    spec: CommandSpec = field(init=False)

    @parts.validator
    def _require_sense(self, _attribute: object, parts: tuple[str, str, tuple[str, ...]]) -> None:
        method, path, query = parts
        if not (method.isalpha() and path.startswith("/")):
            raise ValueError(f"The request of {self.name} must be a method and a path, such as GET /users.")
        if unknown := {*names_in(path), *query} - {argument.name for argument in self.takes.rows}:
            raise ValueError(f"The request of {self.name} names {', '.join(sorted(unknown))}, which it does not take.")

    @spec.default
    def _specify(self) -> CommandSpec:
        tags = {*self.tags, f"{DANGEROUS}{self.touches}"} if self.touches else self.tags
        return CommandSpec(self.name, specs_of(self.takes), self.repeat, frozenset(tags), timeout_s=self.timeout_s)

    def members(self, given: Mapping[str, Json]) -> dict[str, Json]:
        """Return the arguments that are neither in the path nor in the query."""
        _, path, query = self.parts
        elsewhere = {*names_in(path), *query}
        return {name: value for name, value in given.items() if name not in elsewhere}


def _members(row: Row, given: Mapping[str, Json], _target: Target) -> Mapping[str, Json]:
    return row.members(given)


def _segment(name: str, text: str, _target: Target) -> str:
    return segment(name, text)


def _by_rung(_call: Call, _row: Row, _answer: Answer) -> None:
    return None


@frozen(kw_only=True, eq=False)
class TableKind:
    """A kind by its table. `server` is its name in messages, `version` the one that its commands are of.

    `probe`: the path of a GET that needs the login and changes nothing. `check_url`, `check_login` and `check_log` are
    hints: what to do where the address or the login is wrong, and where to look if the server fails.

    - `login(target)` returns the headers that log in, by default those of `Auth`; it may raise `ConfigError`.
    - `error(response, text)` returns the server's own name of the error in an answer, "" if it has none, and its words.
    - `health(answer)` judges the answer to the probe; None: by its status (`standard_health`), for which 200 is not
      enough: a proxy may have answered.
    - `classify(call, row, answer)` returns the outcome of an answer that is no success; None: that of `rungs` for its
      status, which are laid over the usual ones (`standard`, and 401, 403, 404 and 405 are denied).
    - `body(row, given, target)` returns the members of the body. By default these are the arguments that are neither
      in the path nor in the query. An empty body of a GET or DELETE is not sent.
    - `segment(name, text, target)` returns an argument as it stands in the path, encoded.

    `one_domain`: the server has only the target's `Domain`; a job's `host` must be that, and is not sent.
    """

    server: str
    version: str
    commands: tuple[Row, ...] = field()
    probe: str
    check_url: str
    check_login: str
    check_log: str
    error: Parse
    health: Callable[[Answer], Health | None]
    login: Callable[[Target], Headers] = lambda target: authorization(target.credentials)
    classify: Callable[[Call, Row, Answer], Outcome | None] = _by_rung
    rungs: Ladder = field(factory=dict)
    body: Callable[[Row, Mapping[str, Json], Target], Mapping[str, Json]] = _members
    segment: Callable[[str, str, Target], str] = _segment
    one_domain: bool = False
    _form: AnswerForm = field(init=False)
    _ladder: Ladder = field(init=False)

    @commands.validator
    def _require_names(self, _attribute: object, commands: tuple[Row, ...]) -> None:
        names = Counter(row.name for row in commands)
        if twice := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"There is more than one row of {', '.join(twice)}.")

    @_form.default
    def _find_form(self) -> AnswerForm:
        return AnswerForm(self.error)

    @_ladder.default
    def _find_ladder(self) -> Ladder:
        login, address = Rung("denied", "LoginRefused", self.check_login), Rung("denied", "NotTheApi", self.check_url)
        usual = standard(self.server, check_url=self.check_url, check_log=self.check_log)
        return {**usual, 401: login, 403: login, 404: address, 405: address, **self.rungs}

    def for_version(self, _version: str | None) -> Catalogue:
        """Return the same commands for each version of the server."""
        dangerous = dangerous_commands_of({row.name: row.touches for row in self.commands})
        commands = {row.name: attrs.evolve(row.spec, fills_host=self.one_domain) for row in self.commands}
        return Catalogue(self.version, commands, dangerous, is_whole=True)

    def open_connector(self, target: Target, ports: "Ports") -> "Connector":
        """Return the connector of this target; nothing is sent yet."""
        from restbroker.servers.api.connector import TableConnector, ask_once, send_once  # loads Trio

        return TableConnector(
            target,
            self.for_version(None),
            {row.name: row for row in self.commands},
            request=lambda call, row: self._request(call, row, target),
            send=send_once(self._judge, ports.now_s),
            probe=ask_once(lambda: self._question(target), self._health_of),
            stepwise=True,
        )

    def _request(self, call: Call, row: Row, target: Target) -> Request:
        arguments, (method, path, query) = call.command.arguments, row.parts
        if self.one_domain:
            arguments = without_host(arguments, target.default_host)
        given = fit(row.takes, row.name, arguments, target.default_host)
        members = self.body(row, given, target)
        has_body = bool(members) or method not in _BODILESS
        kind = (("Content-Type", "application/json"),) if has_body else ()
        return Request(
            method,
            target.url.path + path_of(path, given, lambda name, text: self.segment(name, text, target)),
            call.timeout_s,
            query=query_of(query, given),
            headers=(*self.login(target), *kind, *call.headers),
            body=json_body(members) if has_body else b"",
            repeatable=row.repeat == "safe",
        )

    def _judge(self, call: Call, row: Row, spec: CommandSpec, response: Response, now_s: float) -> Outcome:
        if 200 <= response.status < 300:
            return deliver_as_is(response, parse_json(response.parsable))
        answer = read_for(self._form, call, spec, response, now_s)
        return self.classify(call, row, answer) or ladder(answer, self._ladder)

    def _question(self, target: Target) -> Request:
        return harmless_request(target, target.url.path + self.probe, self.login(target))

    def _health_of(self, response: Response) -> Health:
        answer = read(self._form, response)
        return self.health(answer) or standard_health(answer, self.server, self.check_login, self.check_url)
