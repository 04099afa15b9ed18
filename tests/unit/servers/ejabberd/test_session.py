"""Which login the connector's requests carry, with a link that plays a server that issues tokens."""

import base64
import json
from collections.abc import Awaitable, Callable
from itertools import cycle

import attrs
import pytest
import trio
import trio.testing

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Credentials, IssuedLogin, Target, Url
from restbroker.job.command import Call, Command
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome
from restbroker.servers.contract import Connector, Ports
from restbroker.servers.ejabberd.connector import open_connector
from restbroker.servers.ejabberd.session import PAUSE_S, WEAK_PAUSE_S, NoToken, OauthToken, read_token
from restbroker.telemetry.events import Event, OperatorWarning
from restbroker.transport.message import MaybeSent, NotSent, Request, Response

LOGIN = Basic("admin@example.org", Secret("hush"))
AUTO = IssuedLogin(LOGIN, fallback=True)
ONLY = IssuedLogin(LOGIN, fallback=False)
KICK = Call(Command("kick_user", {"user": "a", "host": "x"}))
BASIC = "Basic " + base64.b64encode(b"admin@example.org:hush").decode()
OK = Response(200, {}, b"0", 0.0)
REFUSED = Response(401, {}, b'{"status":"error","code":10,"message":"Oauth Token is invalid or expired."}', 0.0)
FORBIDDEN = Response(403, {}, b'{"status":"error","code":32,"message":"no"}', 0.0)
BROKEN = Response(500, {}, b'"internal_error"', 0.0)
ASK = "oauth_issue_token"


@attrs.define
class Server:
    """A link to a server that issues the tokens t1, t2, …; `answers` says what it answers to a login.

    `requests` has the login and the command of each request; a token's login is its number.
    """

    issue: Response | Exception | None = None
    answers: Callable[[str], Response] = lambda _: OK
    issued: int = 0
    requests: list[str] = attrs.Factory(list)
    hold: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint

    async def ask(self, request: Request) -> Response:
        return await self.send(request) if not request.path.endswith(ASK) else await self._issue(request)

    async def send(self, request: Request) -> Response:
        login = dict(request.headers).get("Authorization", "nobody").replace(BASIC, "basic").removeprefix("Bearer ")
        self.requests.append(f"{login} {request.path.rpartition('/')[2]}")
        await trio.lowlevel.checkpoint()
        return self.answers(login)

    async def task(self) -> None:
        pass

    async def _issue(self, request: Request) -> Response:
        assert dict(request.headers)["Authorization"] == BASIC
        assert json.loads(request.body) == {"jid": LOGIN.user, "ttl": 3600, "scopes": ["ejabberd:admin"]}
        self.requests.append("ask")
        await self.hold()
        if isinstance(self.issue, Exception):
            raise self.issue
        self.issued += 1
        return self.issue or issued(f"t{self.issued}")

    def token_requests(self) -> int:
        """How often it was asked for a token."""
        return self.requests.count("ask")


def issued(token: str, expires_in: str = "3600 seconds") -> Response:
    """As ejabberd answers."""
    body = {"token": token, "scopes": "ejabberd:admin", "expires_in": expires_in}
    return Response(200, {}, json.dumps(body).encode(), 0.0)


def opened(credentials: Credentials, log: list[Event] | None = None) -> Connector:
    """A connector as `app` makes it; `log` gets what it reports."""
    events: list[Event] = [] if log is None else log
    target = Target("t", "ejabberd", Url("http", "127.0.0.1", 5281, "/api"), ("rest",), credentials)
    return open_connector(target, Ports(events.append, lambda: 0.0))


def refusing(*tokens: str) -> Callable[[str], Response]:
    """Answers 401 to these."""
    return lambda login: REFUSED if login in tokens else OK


async def test_auto_without_token_uses_basic_and_retries_after_a_pause(mock_clock: trio.testing.MockClock) -> None:
    rows: list[Response | Exception] = [
        BROKEN,
        FORBIDDEN,
        Response(400, {}, b'"badpass"', 0.0),
        Response(503, {}, b"", 0.0),
        Response(200, {}, b"[]", 0.0),
        Response(200, {}, b'{"token":"a b"}', 0.0),
        NotSent("refused"),
        MaybeSent("timed out", timed_out=True),
    ]
    for answer in rows:
        server, connector = Server(issue=answer), opened(AUTO)
        for _ in range(3):
            assert isinstance(await connector.deliver(KICK, server), Delivered), answer
        assert server.requests == ["ask", *["basic kick_user"] * 3], answer
        server.issue = issued("late")
        mock_clock.jump(PAUSE_S + 1)
        await connector.deliver(KICK, server)
        assert server.requests[-2:] == ["ask", "late kick_user"], answer


async def test_token_is_renewed_early_while_others_use_the_old_one(
    mock_clock: trio.testing.MockClock,
) -> None:
    for credentials in (AUTO, ONLY):
        server, connector, go = Server(), opened(credentials), trio.Event()
        await connector.deliver(KICK, server)
        await connector.probe(server)
        assert server.requests == ["ask", "t1 kick_user", "t1 status"], credentials
        mock_clock.jump(3600 * 0.74)
        await connector.deliver(KICK, server)
        assert server.token_requests() == 1, credentials
        mock_clock.jump(3600 * 0.02)
        server.hold = go.wait
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connector.deliver, KICK, server)
            await trio.testing.wait_all_tasks_blocked()
            await connector.deliver(KICK, server)
            assert server.requests[-2:] == ["ask", "t1 kick_user"], credentials
            go.set()
        await connector.deliver(KICK, server)
        assert server.requests[-2:] == ["t2 kick_user", "t2 kick_user"], credentials


async def test_a_token_that_could_not_be_renewed_is_used_until_it_ends(mock_clock: trio.testing.MockClock) -> None:
    server, connector = Server(), opened(AUTO)
    await connector.deliver(KICK, server)
    server.issue = BROKEN
    for _ in range(59):
        mock_clock.jump(60)
        await connector.deliver(KICK, server)
    assert "basic kick_user" not in server.requests
    mock_clock.jump(61)
    await connector.deliver(KICK, server)
    assert server.requests[-2:] == ["ask", "basic kick_user"]
    assert server.token_requests() <= 1 + 16


async def test_many_workers_that_need_a_token_wait_for_one_request() -> None:
    server, connector = Server(hold=trio.testing.wait_all_tasks_blocked), opened(ONLY)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(connector.deliver, KICK, server)
    assert server.requests == ["ask", *["t1 kick_user"] * 20]


async def test_cancelled_token_request_is_made_by_the_next_one() -> None:
    for credentials in (AUTO, ONLY):
        server, connector = Server(hold=trio.sleep_forever), opened(credentials)
        with trio.CancelScope() as first:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connector.deliver, KICK, server)
                await trio.testing.wait_all_tasks_blocked()
                first.cancel()
        server.hold = trio.lowlevel.checkpoint
        await connector.deliver(KICK, server)
        assert server.requests == ["ask", "ask", "t1 kick_user"], credentials


async def test_a_token_that_worked_and_is_refused_is_replaced_at_once() -> None:
    for credentials in (AUTO, ONLY):
        log: list[Event] = []
        server, connector = Server(), opened(credentials, log)
        await connector.deliver(KICK, server)
        server.answers = refusing("t1")
        for _ in range(2):
            assert isinstance(await connector.deliver(KICK, server), Delivered), credentials
        assert server.requests == ["ask", *["t1 kick_user"] * 2, "ask", *["t2 kick_user"] * 2], credentials
        assert log == [], credentials


async def test_workers_with_a_revoked_token_use_basic_while_one_asks() -> None:
    server, connector = Server(), opened(AUTO)
    await connector.deliver(KICK, server)
    go = trio.Event()
    server.answers, server.hold = refusing("t1"), go.wait
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(connector.deliver, KICK, server)
        await trio.testing.wait_all_tasks_blocked()
        assert server.requests.count("basic kick_user") == 4
        go.set()
    assert server.token_requests() == 2
    assert server.requests[-1] == "t2 kick_user"


async def test_tokens_refused_by_every_second_node_make_no_loop(
    mock_clock: trio.testing.MockClock,
) -> None:
    for credentials in (AUTO, ONLY):
        turn = cycle((OK, REFUSED))
        server = Server(answers=lambda login, turn=turn: OK if login == "basic" else next(turn))  # type: ignore[misc]  # bound now
        connector = opened(credentials)
        for _ in range(600):
            await connector.deliver(KICK, server)
            mock_clock.jump(0.1)
        assert server.token_requests() <= (4 if credentials.fallback else 62)


async def test_missing_token_is_reported_once_per_cause_with_basic(
    mock_clock: trio.testing.MockClock,
) -> None:
    log: list[Event] = []
    server, connector = Server(issue=BROKEN), opened(AUTO, log)

    async def some_minutes() -> list[str]:
        log.clear()
        for _ in range(5):
            await connector.deliver(KICK, server)
            mock_clock.jump(PAUSE_S + 1)
        return [f"{event.code} {event.hint}" for event in log if isinstance(event, OperatorWarning)]

    assert ["erlang-p1-oauth2" in line for line in await some_minutes()] == [True]
    server.issue = Response(400, {}, b'"badpass"', 0.0)
    assert ["oauth_access" in line for line in await some_minutes()] == [True]
    # What passes by itself is reported by the breaker.
    server.issue = Response(503, {}, b"", 0.0)
    assert await some_minutes() == []
    server.issue = None
    assert await some_minutes() == []
    mock_clock.jump(3600)
    server.issue = Response(400, {}, b'"badpass"', 0.0)
    assert len(await some_minutes()) == 1


async def test_refused_or_weaker_tokens_are_reported_once(
    mock_clock: trio.testing.MockClock,
) -> None:
    for answer, code in ((REFUSED, "TokenRefused"), (FORBIDDEN, "TokenForbidden")):
        log: list[Event] = []
        server = Server(answers=lambda login, answer=answer: OK if login == "basic" else answer)  # type: ignore[misc]  # bound now
        connector = opened(AUTO, log)
        for _ in range(4):
            await connector.deliver(KICK, server)
            mock_clock.jump(WEAK_PAUSE_S + 1)
        assert server.token_requests() == 4, (answer, code)
        assert [event.code for event in log if isinstance(event, OperatorWarning)] == [code], (answer, code)


async def test_command_is_sent_with_two_tokens_at_most_then_basic(
    mock_clock: trio.testing.MockClock,
) -> None:
    def refuse_all_tokens(login: str) -> Response:
        mock_clock.jump(PAUSE_S + 1)  # so slow that a third one could be asked for
        return OK if login == "basic" else REFUSED

    server, connector = Server(), opened(AUTO)
    await connector.deliver(KICK, server)
    server.answers = refuse_all_tokens
    assert isinstance(await connector.deliver(KICK, server), Delivered)
    assert server.requests[2:] == ["t1 kick_user", "ask", "t2 kick_user", "basic kick_user"]


async def test_login_refused_in_every_form_is_denied_without_a_loop() -> None:
    for credentials in (AUTO, ONLY):
        server, connector = Server(answers=lambda _: REFUSED), opened(credentials)
        outcomes = [await connector.deliver(KICK, server) for _ in range(10)]
        assert {type(outcome) for outcome in outcomes} == {Denied}, credentials
        assert (await connector.probe(server)).denied, credentials
        assert server.token_requests() == 1, credentials
        assert len(server.requests) <= 13, credentials


async def test_rights_the_token_lacks_are_those_of_basic_for_minutes(
    mock_clock: trio.testing.MockClock,
) -> None:
    server, connector = Server(answers=lambda login: OK if login == "basic" else FORBIDDEN), opened(AUTO)
    for _ in range(5):
        assert isinstance(await connector.deliver(KICK, server), Delivered)
    assert server.requests == ["ask", "t1 kick_user", *["basic kick_user"] * 5]
    mock_clock.jump(WEAK_PAUSE_S - 1)
    await connector.deliver(KICK, server)
    assert server.token_requests() == 1
    mock_clock.jump(2)
    await connector.deliver(KICK, server)
    assert server.token_requests() == 2


async def test_command_forbidden_to_both_is_denied_and_the_token_kept() -> None:
    server, connector = Server(answers=lambda _: FORBIDDEN), opened(AUTO)
    outcome = await connector.deliver(KICK, server)
    assert isinstance(outcome, Denied)
    assert outcome.reason.code == "CommandForbidden"
    server.answers = refusing()
    await connector.deliver(KICK, server)
    tried = [f"{login} {command}" for command in ("kick_user", "connected_users_number") for login in ("t1", "basic")]
    assert server.requests == ["ask", *tried, "t1 kick_user"]


@pytest.mark.parametrize(
    ("credentials", "issue", "basic_s", "plain_s", "codes"),
    [
        (LOGIN, None, 0.010, 0.002, ["SlowLogin"]),
        (AUTO, BROKEN, 0.010, 0.002, ["NoToken", "SlowLogin"]),
        (AUTO, Response(503, {}, b"", 0.0), 0.010, 0.002, []),
        (LOGIN, None, 0.003, 0.001, []),
        (LOGIN, None, 0.042, 0.040, []),
        (AUTO, None, 0.010, 0.002, []),
        (None, None, 0.010, 0.040, []),
    ],
    ids=["basic", "no token", "no token yet", "fast", "far away", "token", "no login"],
)
async def test_a_password_that_costs_much_is_reported_once(
    credentials: Credentials,
    issue: Response | None,
    basic_s: float,
    plain_s: float,
    codes: list[str],
) -> None:
    def answer(login: str) -> Response:
        return attrs.evolve(OK, duration_s=basic_s if login == "basic" else plain_s)

    log = list[Event]()
    server, connector = Server(issue=issue, answers=answer), opened(credentials, log)
    for _ in range(3):
        assert (await connector.probe(server)).ok
    warnings = [event for event in log if isinstance(event, OperatorWarning)]
    assert [warning.code for warning in warnings] == codes
    if codes:
        assert "Target 't': ejabberd does at most about 125 jobs/s for each of its cores" in warnings[-1].message
        what_to_do = "oauth2" if credentials is AUTO else '"RestAuth": "auto"'
        assert what_to_do in (warnings[-1].hint or "")
    if basic_s == 0.003:
        assert server.requests == ["basic status"] * 3, "what was fast is not measured"


async def test_an_outage_while_a_login_is_measured_fails_no_probe() -> None:
    log, down = list[Event](), True

    def answer(login: str) -> Response:
        if down and login == "nobody":
            raise MaybeSent("reset")
        return attrs.evolve(OK, duration_s=0.010 if login == "basic" else 0.001)

    server, connector = Server(answers=answer), opened(LOGIN, log)
    assert (await connector.probe(server)).ok
    assert log == []
    down = False
    assert (await connector.probe(server)).ok
    assert len(log) == 1


async def test_nothing_is_sent_where_a_required_token_is_missing() -> None:
    rows: list[tuple[Response, type[Outcome], str]] = [
        (BROKEN, Denied, "erlang-p1-oauth2"),
        (Response(400, {}, b'"badpass"', 0.0), Denied, "oauth_access"),
        (FORBIDDEN, Denied, "Allow oauth_issue_token"),
        (REFUSED, Denied, "Correct the target's login"),
        (Response(302, {"location": "/x"}, b"", 0.0), Denied, "RestURL"),
        (Response(400, {}, b'"unknown_command"', 0.0), Deferred, "log"),
        (Response(503, {}, b"", 0.0), Deferred, "log"),
    ]
    for answer, kind, hint in rows:
        server, connector = Server(issue=answer), opened(ONLY)
        outcome = await connector.deliver(KICK, server)
        assert isinstance(outcome, Denied | Deferred), (answer, kind)
        assert type(outcome) is kind, (answer, kind)
        assert outcome.reason.code == "NoToken", (answer, kind)
        assert hint in (outcome.reason.hint or ""), (answer, kind)
        probe = await connector.probe(server)
        assert (probe.ok, probe.denied) == (False, kind is Denied), (answer, kind)
        assert server.requests == ["ask"], (answer, kind)


async def test_waiters_for_a_token_of_a_lost_server_are_unsent_too() -> None:
    server = Server(issue=NotSent("refused"), hold=trio.testing.wait_all_tasks_blocked)
    connector = opened(ONLY)
    unsent: list[str] = []

    async def deliver() -> None:
        with pytest.raises((NotSent, MaybeSent)) as caught:
            await connector.deliver(KICK, server)
        unsent.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(deliver)
    assert len(unsent) == 5
    assert server.requests == ["ask"]


async def test_no_text_holds_the_token() -> None:
    server, connector = Server(issue=issued("ToKeN")), opened(AUTO)
    await connector.deliver(KICK, server)
    server.answers = lambda _: REFUSED
    shown = repr(connector) + repr(await connector.deliver(KICK, server)) + repr(await connector.probe(server))
    assert "ToKeN" not in shown
    assert "hush" not in shown
    assert "ToKeN" not in repr(read_token(issued("ToKeN"), 0.0))
    other = read_token(Response(200, {}, b'{"tokens":"ToKeN"}', 0.0), 0.0)
    assert isinstance(other, NoToken)
    assert "ToKeN" not in other.message + repr(other)


def test_a_token_lives_as_long_as_the_server_says() -> None:
    rows: list[tuple[str, int]] = [("1000 seconds", 1000), ("", 3600), ("soon", 3600), ("-5 seconds", 3600)]
    for text, life_s in rows:
        found = read_token(issued("t", text), 100.0)
        assert isinstance(found, OauthToken), (text, life_s)
        assert (found.renew_at_s, found.ends_at_s) == (100 + life_s * 0.75, 100 + life_s), (text, life_s)
