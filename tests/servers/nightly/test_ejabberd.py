"""What restbroker does beside a real ejabberd: logins, stanzas, plans, and `ctl` beside `ejabberdctl`."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, IssuedLogin
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome
from restbroker.store import sets
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.telemetry.events import JobFinished
from restbroker.transport.message import MaybeSent, NotSent
from tests.servers.ejabberd import HOST, NOBODY, account, side_of
from tests.servers.sides import Side, in_short
from tests.support.ejabberd import PASSWORD, Ejabberd
from tests.support.paths import Paths
from tests.support.ports import free_port
from tests.support.process import Running, clean_environment, run, started
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.wait import until

NO = Delivered("1", 1, 200, negative=True)
"""The answer to `check_account` for nobody."""


@pytest.fixture(scope="module")
def scram(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    found = [*Path("/usr/lib").glob("erlang/lib/p1_oauth2-*"), *Path("/usr/lib").glob("*/p1_oauth2-*")]
    assert found, "oauth2 is not installed; `make test` installs it, or: sudo apt-get install erlang-p1-oauth2"
    server = Ejabberd(tmp_path_factory.mktemp("scram"), scram=True).start()
    yield server
    server.kill()


@pytest.fixture
def fresh(scram: Ejabberd) -> Ejabberd:
    """The same server without a token."""
    revoke_all(scram)
    return scram


def login(server: Ejabberd, user: str | None = None, *, fallback: bool = True) -> IssuedLogin:
    return IssuedLogin(Basic(user or server.admin, Secret(PASSWORD)), fallback)


def tokens(server: Ejabberd) -> list[str]:
    """The tokens that the server has issued."""
    return [row["token"] for row in json.loads(server.call("oauth_list_tokens")[1])]


def revoke_all(server: Ejabberd) -> None:
    """Has the server take none of its tokens any more."""
    for token in tokens(server):
        assert server.call("oauth_revoke_token", token=token)[0] == 200


async def ask(side: Side, times: int = 1) -> list[Outcome]:
    """Asks for nobody's account so often, one after the other."""
    return [await side.call("check_account", NOBODY) for _ in range(times)]


@pytest.mark.parametrize("fallback", [False, True])
async def test_a_token_that_was_taken_back_fails_no_job(fresh: Ejabberd, fallback: bool) -> None:
    async with side_of(fresh, login(fresh, fallback=fallback)) as side:
        assert await ask(side) == [NO]
        await trio.to_thread.run_sync(revoke_all, fresh)
        assert await ask(side, 3) == [NO] * 3
        assert (await side.probe()).ok
        assert len(await trio.to_thread.run_sync(tokens, fresh)) == 1


@pytest.mark.parametrize(
    ("changes", "hint"),
    [({"tokens": False}, "oauth_access"), ({"without": ("p1_oauth2",)}, "erlang-p1-oauth2")],
    ids=["oauth_access none", "no oauth2"],
)
async def test_server_without_tokens_gets_basic_or_says_what_it_lacks(
    tmp_path: Path, changes: dict[str, object], hint: str
) -> None:
    server = Ejabberd(tmp_path, **changes)  # type: ignore[arg-type]  # real fields
    await trio.to_thread.run_sync(server.start)
    try:
        async with side_of(server, login(server)) as side:
            assert await ask(side, 3) == [NO] * 3
        async with side_of(server, login(server, fallback=False)) as side:
            (outcome,) = await ask(side)
            assert isinstance(outcome, Denied)
            assert hint in (outcome.reason.hint or "")
            assert hint in ((await side.probe()).hint or "")
    finally:
        await trio.to_thread.run_sync(server.kill)


async def test_message_with_id_arrives_like_one_without_but_for_its_id(
    admin: Side, ejabberd: Ejabberd, tmp_path: Path
) -> None:
    new, file = account(), tmp_path / "offline"
    await admin.done("register", new)
    ends: dict[str, Json] = {"from": "admin@localhost", "to": f"{new['user']}@{HOST}"}
    texts = [("chat", "", "Grüße ☂ & <b> \r\n"), ("normal", "s", ""), ("normal", "", ""), ("no type", "s\t\n'", "x")]
    for number, (kind, subject, body) in enumerate(texts):
        message: dict[str, Json] = {**ends, "type": kind, "subject": subject, "body": body}
        await admin.done("send_message", message)
        await admin.done("send_message", {**message, "id": f"order-<&'>{number}"})
    status, said = ejabberd.call("dump_table", file=str(file), table="offline_msg")
    assert status == 200, said
    # What is stored for them in Erlang's words, without the time of each.
    stored = [re.sub(r"\s|\{\d+,\s*\d+,\s*\d+\}", "", part) for part in file.read_text("utf-8").split("{offline_msg,")]
    stored = [stanza.rstrip(".") for stanza in stored if f'{{<<"{new["user"]}">>,<<"{HOST}">>}}' in stanza]
    ids = [re.findall(r'<<"id">>,<<"(.*?)">>', stanza) for stanza in stored]
    assert ids[1::2] == [[f"order-<&'>{number}"] for number in range(len(texts))]
    plain = [re.sub(r'<<"id">>,<<".*?">>', "", stanza) for stanza in stored]
    assert plain[::2] == plain[1::2]


async def test_missing_right_for_messages_with_id_is_named(ejabberd: Ejabberd) -> None:
    message: dict[str, Json] = {"type": "chat", "from": "a@localhost", "to": "b@localhost", "subject": "", "body": "b"}
    async with side_of(ejabberd, Basic(ejabberd.limited, Secret(PASSWORD))) as side:
        outcome = await side.call("send_message", {**message, "id": "order-7"})
    assert isinstance(outcome, Denied)
    assert outcome.reason.code == "CommandForbidden"
    assert "Allow send_stanza for restbroker's account" in (outcome.reason.hint or "")


async def test_stopping_server_defers_commands_and_never_rejects_them(own_ejabberd: Ejabberd) -> None:
    outcomes: list[Outcome] = []
    busy = trio.Event()

    async def ask_until_refused(side: Side) -> None:
        while True:
            try:
                outcomes.append(await side.call("connected_users_number", timeout_s=2.0))
            except MaybeSent:
                continue  # some of the open connections die in the act
            except NotSent:
                return
            if len(outcomes) > 50:
                busy.set()

    # Several, because the one connection of a lone asker may be among those that die at once.
    async with side_of(own_ejabberd) as side, trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(ask_until_refused, side)
        await busy.wait()
        await trio.to_thread.run_sync(own_ejabberd.call, "stop")
    assert {in_short(outcome) for outcome in outcomes} == {"Delivered", "Deferred ServerStopping"}
    deferred = [outcome for outcome in outcomes if isinstance(outcome, Deferred)]
    assert {(outcome.counts, outcome.pause_target) for outcome in deferred} == {(False, True)}


_JOBS: Final = 12_000
_SHARE: Final = 0.99
_HOST: Final = "example.org"
_OWNER: Final = "fast-path-owner"


def job(number: int) -> bytes:
    """Return one of four commands, with an answer for each third of the jobs."""
    command, arguments = (
        ("register", {"user": f"fast-path-{number}", "host": _HOST, "password": "a password"}),
        ("send_message", _message(number)),
        ("user_sessions_info", {"user": _OWNER, "host": _HOST}),
        ("add_rosteritem", _contact(number)),
    )[number % 4]
    args: list[object] = [command, arguments, "t"]
    if number % 3 == 0:
        args.append(f"reply-{number}")
    return json.dumps({"class": "Add", "args": args, "jid": f"jid-{number}", "queue": "q", "retry": True}).encode()


def _message(number: int) -> dict[str, Any]:
    ends = {"from": f"admin@{_HOST}", "to": f"nobody-{number}@{_HOST}"}
    return {"type": "headline", **ends, "subject": "", "body": f"number {number}"}


def _contact(number: int) -> dict[str, Any]:
    names = {"localuser": _OWNER, "user": f"contact-{number}", "nick": "a nick", "group": "a group", "subs": "both"}
    return {"localhost": _HOST, "host": _HOST, **names}


async def test_99_of_100_ordinary_commands_are_delivered_as_planned(
    paths: Paths, ejabberd: Ejabberd, report: Callable[[str], None], tmp_path: Path
) -> None:
    """By a token for the password of a file; plans of other logins: unit/servers/ejabberd/test_connector."""
    status, said = ejabberd.call("register", user=_OWNER, host=_HOST, password=PASSWORD)
    assert status in {200, 409}, said
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    auth = {"Auto": {"User": ejabberd.admin, "PassFile": str(file)}}
    jobs = [job(number) for number in range(_JOBS)]
    async with paths.broker(jobs, URL=ejabberd.url, Auth=auth) as serving:
        await serving.until_ended(_JOBS)
        serving.control.stop.set()
    share = serving.planned / _JOBS
    report(f"as planned: {share:.2%} of {_JOBS} commands of ejabberd")
    odd = [event for event in serving.events if isinstance(event, JobFinished) and event.outcome != "delivered"]
    assert odd == []
    assert paths.client.command("LLEN", "queue:replies") == _JOBS // 3
    assert share >= _SHARE


_SCRIPT: Final = Path(__file__).with_name("ejabberdctl.sh").read_text("utf-8")


_WRAPPER = """\
#!/bin/sh
HOME={directory} exec {program} --config-dir {directory} --logs {directory} --spool {directory}/spool "$@" \\
  2>{directory}/stderr
"""


def start(directory: Path) -> Ejabberd:
    """Starts an ejabberd by Debian's own ejabberdctl, which is in the folder `programs`.

    It needs neither epmd nor another user; its domains are those of every other ejabberd of the tests.
    """
    (directory / "programs").mkdir()
    found = shutil.which("ejabberdctl") or "/usr/sbin/ejabberdctl"
    program = _executable(directory / "theirs", Path(found).read_text().replace("INSTALLUSER=ejabberd", "INSTALLUSER="))
    # Of a node that takes more than 7 s to answer, since the machine is busy, it would say that it is down.
    patience = 'ERL_OPTIONS="-kernel net_setuptime 120"'
    (directory / "ejabberdctl.cfg").write_text(f"ERL_DIST_PORT={free_port()}\n{patience}\n")
    (directory / "inetrc").write_text('{lookup,["file","native"]}.\n{host,{127,0,0,1},["localhost"]}.\n')
    text = _WRAPPER.format(directory=directory, program=program)
    wrapper = _executable(directory / "programs" / "ejabberdctl", text)
    return Ejabberd(directory, by=(str(wrapper), "foreground")).start()


def _executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@attrs.frozen
class Scene:
    """An ejabberd that ejabberdctl started, a broker for it, and a folder in which both programs are found."""

    server: Ejabberd
    place: Path
    store: Client

    def output(self, script: str) -> Sequence[str]:
        """What the script prints, and after each command what that ended with."""
        trap = 'trap \'printf "[%s]\\n" "$?"\' DEBUG\n'
        environ = clean_environment({"PATH": f"{self.place}:{self.server.directory}/programs:{os.environ['PATH']}"})
        done = subprocess.run(
            ["bash", "-c", trap + script], cwd=self.place, env=environ, capture_output=True, text=True, check=False
        )
        return [*done.stdout.splitlines(), *(f"stderr: {line}" for line in done.stderr.splitlines())]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    server = start(tmp_path_factory.mktemp("node"))
    place = tmp_path_factory.mktemp("broker")
    redis = RedisServer(redis_binary(), tmp_path_factory.mktemp("redis")).start()
    document = {
        "RedisURL": redis.url,
        "RestURL": server.url,
        "RestUser": server.admin,
        "RestPass": server.password,
        "RestQueue": "rest",
        # A starved machine is slow, and no server is away by that.
        "RequestTimeout": "5m",
        "ConnectTimeout": "1m",
        "Tokens": {"scripts": {"Secret": "a-token-of-scripts", "Allow": ["*", "dangerous:*"]}},
    }
    (place / "env.json").write_text(json.dumps(document))
    _executable(place / "restbroker", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m restbroker "$@"\n')
    try:
        with started(["run"], directory=place) as broker:
            _ready(broker)
            yield Scene(server, place, open_client(StoreSettings(redis.url)))
    finally:
        redis.close()
        server.kill()


def _ready(broker: Running) -> None:
    broker.wait_for("taking jobs|takes jobs|started|ready")


def test_script_of_ejabberdctl_works_with_one_word_changed(scene: Scene) -> None:
    assert _SCRIPT.count("\nejabberdctl") >= 20
    theirs = scene.output(_SCRIPT)
    ours = scene.output(_SCRIPT.replace("ejabberdctl", "restbroker ctl"))
    assert "\n".join(unified_diff(theirs, ours, n=2, lineterm="")) == ""
    assert sets.size(scene.store, "dead") == 0
    # Ours waits for 10 s, and says then that nothing is known: on a starved machine, too.
    status = scene.output("ejabberdctl status")
    until(lambda: scene.output("restbroker ctl status") == status, f"the same status: {status}")


def test_command_waits_for_a_dead_server_and_is_done_later(scene: Scene) -> None:
    server = scene.server
    server.kill()
    with started(["ctl", "register", "carol", "localhost", "secret"], directory=scene.place) as waiting:
        waiting.wait_for("^The server of the queue [^ ]+ gets no jobs now: ")
        state = run(["ctl", "status"], directory=scene.place)
        assert (state.returncode, state.stdout) == (3, "")
        server.start()
        assert waiting.wait() == 0
        assert waiting.stdout.read_text() == "User carol@localhost successfully registered\n"
    assert server.call("unregister", user="carol", host="localhost")[0] == 200
