"""`restbroker config init`: by questions on a real terminal, by options in a script; what it makes can be used."""

import grp
import json
import os
import re
from pathlib import Path

import pytest

from restbroker.config.load import load
from restbroker.config.setup import secret_names
from restbroker.config.target import Basic, Bearer, IssuedLogin, Target
from restbroker.events import registry as sources
from restbroker.servers import registry
from tests.support.ports import free_port
from tests.support.process import run_here as run
from tests.support.terminal import dialogue

PASSWORD = "hush hush ☂"


def made(directory: Path, name: str = "env.json") -> Target:
    """The one target of the file that was made, which must be usable."""
    (target,) = load(directory / name, {}, {}, registry.kinds(), sources.kinds()).config.targets
    return target


def password_of(target: Target) -> str:
    login = target.credentials.login if isinstance(target.credentials, IssuedLogin) else target.credentials
    assert isinstance(login, Basic)
    return login.password.reveal()


def token_of(target: Target) -> str:
    assert isinstance(target.credentials, Bearer)
    return target.credentials.token.reveal()


def private(directory: Path) -> dict[str, bool]:
    """Each file, and whether its owner alone may read it."""
    return {path.name: path.stat().st_mode & 0o777 == 0o600 for path in directory.iterdir()}


def test_few_questions_make_a_configuration_with_private_secrets(tmp_path: Path) -> None:
    with dialogue(["config", "init"], tmp_path) as talk:
        talk.answer("1. Which server (ejabberd,", "")
        talk.answer("2. Its URL [http://127.0.0.1:5281/api]", "http://xmpp.example.org:5280/api")
        talk.answer("3. Redis [redis://127.0.0.1:6379/0]", "")
        talk.answer("4. The login", "admin@example.org")
        assert not talk.answer("The password of admin@example.org (not shown)", PASSWORD)
        talk.answer("5. Log in with tokens that it issues (auto) or the password (basic) [auto]", "token")
        talk.answer("There is no way 'token' to log in. Write auto or basic.", "")
        talk.answer("6. The queue that producers push to [rest]", "jobs")
        talk.answer("7. The person (not a room) who gets messages from monitoring or CI (empty: nobody)", "ops")
        talk.answer("The user ops@ has no domain.", "ops@conference.example.org")
        talk.answer("ops@conference.example.org is not a person's address. Rooms need more:", "ops@example.org")
        talk.answer("8. Serve web pages, for this machine alone and with a login [Y/n]", "")
        talk.answer("Test the connection to Redis and to the server now? [Y/n]", "n")
        assert talk.end() == 0
    of_alerts = ("env.alerts-token", "env.alerts-secret")
    names = ("env.json", "env.token", "env.password", "env.stats-password", *of_alerts)
    assert private(tmp_path) == dict.fromkeys(names, True)
    of_pages = (tmp_path / "env.stats-password").read_text().strip()
    assert re.fullmatch(r"[A-Za-z0-9_-]{16}", of_pages)
    assert f"http://127.0.0.1:8080/      the web pages, while it runs: user ops, password {of_pages}" in talk.shown
    assert talk.shown.count(of_pages) == 1
    target = made(tmp_path)
    assert (target.kind, str(target.url), target.queues) == ("ejabberd", "http://xmpp.example.org:5280/api", ("jobs",))
    assert (target.default_host, password_of(target)) == ("example.org", PASSWORD)
    assert isinstance(target.credentials, IssuedLogin)
    assert "ejabberd.yml" not in talk.shown
    assert "restbroker check --suggest" in talk.shown
    alerts_token, secret = ((tmp_path / name).read_text().strip() for name in of_alerts)
    assert f"http://127.0.0.1:8081/slack/{secret}\n" in talk.shown
    assert talk.shown.count(secret) == 1
    token = (tmp_path / "env.token").read_text().strip()
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", token)
    document = (tmp_path / "env.json").read_text()
    for hidden in (PASSWORD, token, alerts_token):
        assert hidden not in talk.shown
        assert hidden not in document
    assert secret not in document
    assert "restbroker check  " in talk.shown


def test_invalid_answers_are_asked_again_and_options_not_asked(tmp_path: Path) -> None:
    with dialogue(["config", "init", "--redis", "redis://10.0.0.1", "--queue", "q"], tmp_path) as talk:
        talk.answer("1. Which server", "openfir")
        talk.answer("There is no server 'openfir'. There are ejabberd,", "openfire")
        talk.answer("2. Its URL [http://127.0.0.1:9090]", "ftp://127.0.0.1")
        talk.answer("The URL begins with http://", "http://admin:hunter2@127.0.0.1:9090")
        talk.answer("Leave the login out of http://…@127.0.0.1:9090", "")
        talk.answer("3. The login (the name alone, as admin)", "ad:min")
        talk.answer("The login ad:min contains a colon", "admin")
        talk.answer("The password of admin (not shown)", "two\twords")
        talk.until("A password is one line, not blank, without control characters.")
        assert not talk.answer("The password of admin (not shown)", PASSWORD)
        talk.answer("4. The virtual host of the jobs", "Example.org")
        talk.answer("The virtual host Example.org is not in lower case. Write example.org.", "example.org")
        talk.answer("5. Serve web pages", "n")
        talk.answer("Test the connection", "n")
        assert talk.end() == 0
    target = made(tmp_path)
    assert (target.kind, target.queues, target.default_host) == ("openfire-rest", ("q",), "example.org")
    assert "The queue that producers" not in talk.shown
    assert "two" not in talk.shown
    assert json.loads((tmp_path / "env.json").read_text())["RedisURL"] == "redis://10.0.0.1:6379/0"


def test_the_end_of_a_tested_connection_is_that_of_check(tmp_path: Path, redis_url: str) -> None:
    login = ["--server", "ejabberd", "--login", "admin@localhost", "--url", f"http://127.0.0.1:{free_port()}/api"]
    given = ["--redis", redis_url, "--queue", "q", "--auth", "basic"]
    with dialogue(["config", "init", *given, *login], tmp_path) as talk:
        talk.answer("The password of admin@localhost (not shown)", PASSWORD)
        talk.answer("1. The person (not a room) who gets", "")
        talk.answer("2. Serve web pages", "n")
        talk.answer("Test the connection to Redis and to the server now? [Y/n]", "")
        talk.until("Unreachable")
        talk.until("restbroker run")
        assert talk.end() == 5
    assert isinstance(made(tmp_path).credentials, Basic)
    assert "ejabberd.yml" not in talk.shown


def test_nothing_is_asked_where_an_option_is_impossible(tmp_path: Path) -> None:
    for words in (["--queue", "queue:jobs"], ["etc/env.json"], ["--server", "openfire", "--auth", "basic", "--yes"]):
        with dialogue(["config", "init", *words], tmp_path) as talk:
            assert (talk.end(), "1." in talk.shown) == (2, False)


def test_ctrl_c_at_a_question_leaves_nothing(tmp_path: Path) -> None:
    with dialogue(["config", "init"], tmp_path) as talk:
        talk.answer("1. Which server", "")
        talk.interrupt("2. Its URL")
        assert talk.end() != 0
    assert "Traceback" not in talk.shown
    assert private(tmp_path) == {}


@pytest.mark.parametrize(
    ("server", "kind", "login"),
    [
        ("ejabberd", "ejabberd", "admin@example.org"),
        ("prosody", "prosody-rest", "broker"),
        ("prosody-roster", "prosody-roster", None),
        ("mongooseim", "mongooseim", "admin"),
        ("openfire", "openfire-rest", "admin"),
        ("openfire-chat", "openfire-chat", "admin"),
    ],
)
def test_a_script_says_it_all_by_options(tmp_path: Path, server: str, kind: str, login: str | None) -> None:
    words = ["config", "init", "there.json", "--server", server, "--domain", "example.org", "--queue", "q", "--yes"]
    words += [] if login is None else ["--login", login, "--password-file", "-"]
    done = run(words, directory=tmp_path, stdin=f"{PASSWORD}\n")
    assert (done.returncode, done.stdout, PASSWORD in done.stderr) == (0, "", False)
    target = made(tmp_path, "there.json")
    assert (target.kind, target.queues) == (kind, ("q",))
    assert target.credentials is None or password_of(target) == PASSWORD
    assert set(private(tmp_path).values()) == {True}
    assert "restbroker check --config there.json" in done.stderr


def test_a_secret_that_is_in_a_file_already_stays_there(tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text(f"{PASSWORD}\n")
    words = ["config", "init", "--login", "a@example.org", "--password-file", "mine"]
    assert run(words, directory=tmp_path).returncode == 0
    assert password_of(made(tmp_path)) == PASSWORD
    assert json.loads((tmp_path / "env.json").read_text())["RestPassFile"] == str(file)
    assert set(private(tmp_path)) == {"mine", "env.json", "env.token"}
    file.write_text("a-token\n")
    for server in ("prosody", "ejabberd"):
        words = ["config", "init", f"{server}.json", "--server", server, "--domain", "bots.example.org"]
        assert run([*words, "--token-file", "mine", "--yes"], directory=tmp_path).returncode == 0
        target = made(tmp_path, f"{server}.json")
        assert (token_of(target), target.default_host) == ("a-token", "bots.example.org")


@pytest.mark.parametrize(("domain", "sender"), [("muc.example.org", "alerts@muc.example.org"), (None, "alerts@b.org")])
def test_what_is_asked_for_alerts_sends_them(tmp_path: Path, domain: str | None, sender: str) -> None:
    """By a token that may do nothing else; a script is told where the secret is, and `events send` that it works."""
    words = ["config", "init", "--yes", "--server", "ejabberd", "--alerts-to", "ops@b.org"]
    done = run([*words, *([] if domain is None else ["--domain", domain])], directory=tmp_path)
    assert done.returncode == 0
    secret = (tmp_path / "env.alerts-secret").read_text().strip()
    assert "http://127.0.0.1:8081/slack/SECRET (in env.alerts-secret)" in done.stderr
    assert secret not in done.stderr + (tmp_path / "env.json").read_text()
    config = load(tmp_path / "env.json", {}, {}, registry.kinds(), sources.kinds()).config
    token = next(token for token in config.tokens if token.name == "alerts")
    assert (token.allow, token.targets, token.signed) == (("send_message",), ("ejabberd",), True)
    sent = run(
        ["events", "send", "alerts", "-", "--dry-run", "--json"],
        directory=tmp_path,
        stdin='{"text": "<https://b|a> {to}"}',
    )
    made = json.loads(sent.stdout)
    assert (made["queue"], made["command"]) == ("rest", "send_message")
    said = {"type": "chat", "from": sender, "to": "ops@b.org", "subject": "", "body": "a (https://b) {to}"}
    assert made["arguments"] == said


@pytest.mark.parametrize("to", ["ops@conference.b.org", "ops@muc.b.org", "ops@rooms.b.org", "ops{x}@b.org", "o}@b.org"])
def test_alerts_go_to_a_person(tmp_path: Path, to: str) -> None:
    """A message of type chat to a room would be delivered, and nobody would hear it; braces would be a member."""
    done = run(["config", "init", "--yes", "--server", "ejabberd", "--alerts-to", to], directory=tmp_path)
    assert (done.returncode, f"{to} is not a person's address." in done.stderr, private(tmp_path)) == (2, True, {})


def test_other_servers_are_not_asked_for_alerts(tmp_path: Path) -> None:
    words = ["config", "init", "--yes", "--server", "prosody", "--alerts-to", "ops@b.org"]
    done = run(words, directory=tmp_path)
    assert (done.returncode, "--alerts-to is for an ejabberd." in done.stderr, private(tmp_path)) == (2, True, {})


@pytest.mark.parametrize(
    ("mode", "made"), [(0o750, (4711, 0o640)), (0o2770, (4711, 0o640)), (0o755, (0, 0o600)), (0o700, (0, 0o600))]
)
def test_roots_files_are_for_the_group_that_alone_enters(tmp_path: Path, mode: int, made: tuple[int, int]) -> None:
    """So the service reads what root made in /etc/restbroker. In any other folder they are root's alone."""
    folder = tmp_path / "etc"
    folder.mkdir()
    os.chown(folder, 0, 4711)
    folder.chmod(mode)
    written = run(["config", "init", "--yes", "--server", "ejabberd"], directory=folder)
    assert run(["token", "new", "--file", "mine"], directory=folder).returncode == written.returncode == 0
    for name in ("env.json", "env.token", "mine"):
        found = (folder / name).stat()
        assert (found.st_gid if mode < 0o2000 else made[0], found.st_mode & 0o777) == made
    assert ("and its folder's group" in written.stderr) is (made[1] == 0o640)


def test_the_service_is_named_and_what_it_cannot_read(tmp_path: Path) -> None:
    """Where systemd has a unit with this file; root's own look at it would miss what the unit's user cannot read."""
    tmp_path.chmod(0o755)
    systemctl = tmp_path / "systemctl"
    command = f"{{ path=/x ; argv[]=/x run --config {tmp_path}/env.json ; ignore_errors=no }}"
    systemctl.write_text(f"#!/bin/sh\nprintf 'User=nobody\\nGroup=daemon\\nExecStart={command}\\n'\n")
    systemctl.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RESTBROKER_RESTPASSFILE": str(tmp_path / "shells")}
    (tmp_path / "shells").write_text("a-password")
    (tmp_path / "shells").chmod(0o600)
    words = ["config", "init", "--yes", "--login", "a@example.org", "--password-file", "shells"]
    done = run(words, directory=tmp_path, environ=environ)
    assert "systemctl enable --now restbroker" in done.stderr
    assert "restbroker run" not in done.stderr
    os.chown(tmp_path / "env.json", 0, grp.getgrnam("daemon").gr_gid)
    (tmp_path / "env.json").chmod(0o640)
    found = run(["check"], directory=tmp_path, environ=environ).stdout.splitlines()
    (closed,) = [line.split("\t") for line in found if "\tUnitCannotRead\t" in line]
    assert closed[3].endswith("cannot read env.token.")


def test_redis_password_gets_its_own_file_and_history_warning(tmp_path: Path) -> None:
    done = run(["config", "init", "--redis", "redis://:hunter2@127.0.0.1/3", "--stats"], directory=tmp_path)
    assert "Others on this machine can see a password on the command line" in done.stderr
    document = json.loads((tmp_path / "env.json").read_text())
    assert (document["RedisURL"], document["Stats"]) == ("redis://127.0.0.1:6379/3", True)
    of_pages = (tmp_path / "env.stats-password").read_text().strip()
    assert (document["StatsUser"], document["StatsPassFile"]) == ("ops", "env.stats-password")
    assert "user ops, password in env.stats-password" in done.stderr
    assert of_pages not in json.dumps(document) + done.stderr
    assert document["History"] == "24h"  # otherwise `explain` finds nothing of the first job that was done
    assert "hunter2" not in json.dumps(document) + done.stderr
    config = load(tmp_path / "env.json", {}, {}, registry.kinds(), sources.kinds()).config
    assert config.redis_password is not None
    assert config.redis_password.reveal() == "hunter2"


@pytest.mark.parametrize("name", ["env.json", *secret_names("env")])
def test_nothing_is_overwritten_and_nothing_is_half_done(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    done = run(["config", "init", "--yes", "--server", "ejabberd"], directory=tmp_path)
    assert (done.returncode, f"{name} exists already" in done.stderr) == (2, True)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_token_file_is_requested_where_no_login_is_given(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("a-token\n")
    (tmp_path / "empty").write_text("\n")
    given = ["config", "init", "--url", "http://127.0.0.1:1", "--redis", "redis://127.0.0.1:1", "--queue", "q"]
    with dialogue([*given, "--server", "prosody"], tmp_path) as talk:
        talk.answer("1. The login", "")
        talk.answer("The file with a bearer token in its place; empty: none", "none-such")
        talk.answer("none-such cannot be read.", "empty")
        talk.answer("empty holds no token.", "mine")
        talk.answer("2. The virtual host of the jobs", "bots.example.org")
        talk.answer("3. Serve web pages", "")
        talk.answer("Test the connection", "n")
        assert talk.end() == 0
    assert token_of(made(tmp_path)) == "a-token"
    assert "a-token" not in talk.shown
