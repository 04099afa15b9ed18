"""examples/ejabberd-events as it stands there: ejabberd, Sidekiq, restbroker and both workers are real.

Only ports, folders and secrets are others; phones' push service is played.
"""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
import redis
import yaml

from dev.tools.pages import ROOT
from tests.support import ejabberd as support
from tests.support.ejabberd import PASSWORD, SECRET, Ejabberd
from tests.support.example import assert_well, moved, with_secrets
from tests.support.process import started
from tests.support.receiver import Receiver
from tests.support.redis_server import RedisServer
from tests.support.ruby import environment
from tests.support.sidekiq_process import sidekiq_command
from tests.support.wait import until
from tests.support.xmpp import Clients

EXAMPLE: Final = ROOT / "examples" / "ejabberd-events"
HOST: Final = "example.org"
NAME: Final = "events.example.org"
OF_THE_TEST: Final = {"WorldReadable", "NameElsewhere", "NotSaved"}
"""What check warns of here alone: modes of the files, no line in /etc/hosts, a Redis that keeps nothing."""
ENABLE: Final = (
    "<enable xmlns='urn:xmpp:push:0' jid='{}' node='{}'><x xmlns='jabber:x:data' type='submit'>"
    "<field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>"
    "<field var='secret'><value>{}</value></field></x></enable>"
)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    # As Debian's keeps passwords.
    made = Ejabberd(tmp_path_factory.mktemp("speaking"), hosts=(HOST,), component=NAME, scram=True).start()
    yield made
    made.kill()


def test_a_bot_answers_and_phones_of_the_absent_are_woken(
    server: Ejabberd, redis_server: RedisServer, tmp_path: Path
) -> None:
    with_secrets(tmp_path, ["token"])
    (tmp_path / "component").write_text(SECRET)
    (tmp_path / "ejabberd").write_text(PASSWORD)
    env = tmp_path / "env.json"
    env.write_text(
        moved(EXAMPLE / "env.json", tmp_path, redis_server.url, {"5281": server.port, "5347": server.component_port})
    )
    for user in ("ann", "bob", "eve", "bot"):
        server.call("register", user=user, host=HOST, password=PASSWORD)
    own = {"TOKEN_FILE": str(tmp_path / "token")}
    ruby = environment(redis_server.url, extra=own)
    words = ["-r", str(EXAMPLE / "bot_worker.rb"), "-q", "xmpp_bot"]
    store = redis.Redis.from_url(redis_server.url)
    store.hset("devices", "node-of-eve", json.dumps({"secret": "hers", "token": "eve's phone"}))
    with (
        Receiver() as phones,
        started(["run", "--config", str(env)], directory=tmp_path) as broker,
        started(words, directory=tmp_path, environ=ruby, command=[sidekiq_command()]),
        started(
            [str(EXAMPLE / "push_worker.py")],
            directory=tmp_path,
            environ={**os.environ, **own, "REDIS_URL": redis_server.url, "PUSH_URL": f"{phones.url}/wake"},
            command=[sys.executable],
        ),
        Clients(server.c2s_port, HOST) as clients,
    ):
        broker.wait_for(r"source\.opened")
        # What `check` asks for comes to Redis a moment after the log says so.
        until(lambda: store.exists("restbroker:sources"), "the reader's state is recorded")
        told = re.findall(r"^[|] `(\w+)` [|]", (EXAMPLE / "README.md").read_text("utf-8"), re.MULTILINE)
        assert assert_well(env) - OF_THE_TEST == {*told}
        ann = clients.login("ann", PASSWORD)
        ann.say(f"bot@{HOST}", "hello")
        ann.messages.wait_for(
            lambda messages: any(message.body == "You said: hello" for message in messages), "the bot answers", 120.0
        )
        # Bob's app says that Eve's phone is its own, and knows no secret.
        for user, secret in (("bob", "a guess"), ("eve", "hers")):
            client = clients.login(user, PASSWORD)
            client.send(f"<iq type='set' id='enable'>{ENABLE.format(NAME, 'node-of-eve', secret)}</iq>")
            client.ask(HOST, "<ping xmlns='urn:xmpp:ping'/>")
            client.logout()
        for text in ("you are away", "still"):
            ann.say(f"bob@{HOST}", text)
            ann.say(f"eve@{HOST}", text)
        until(lambda: phones.received, "a phone is woken", 120)
        until(lambda: not store.exists("queue:xmpp_push", "xmpp_push:in_hand"), "the worker is done", 120)
        assert [json.loads(request.body) for request in phones.received] == [{"token": "eve's phone"}]


def test_a_bot_that_never_logs_in_is_sent_more_and_is_spared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = yaml.safe_load((EXAMPLE / "ejabberd.yml").read_text("utf-8"))
    config = f"{_block('shaper_rules', shown)}{support.CONFIG}"
    for section in ("acl", "access_rules"):
        config = config.replace(f"{section}:\n", _block(section, shown), 1)
    monkeypatch.setattr(support, "CONFIG", config)
    server = Ejabberd(tmp_path, hosts=(HOST,), component=NAME).start()
    try:
        for user in ("ann", "bob", "bot"):
            server.call("register", user=user, host=HOST, password=PASSWORD)
        with Clients(server.c2s_port, HOST) as clients:
            ann = clients.login("ann", PASSWORD)
            for _ in range(101):
                ann.say(f"bot@{HOST}", "more")
                ann.say(f"bob@{HOST}", "more")
            (refused,) = ann.messages.wait_for_number(1)
        assert (refused.sender, refused.condition) == (f"bob@{HOST}", "resource-constraint")
        assert json.loads(server.call("get_offline_count", user="bot", host=HOST)[1])["value"] == 101
        server.call("delete_old_users_vhost", host=HOST, days=0)
        assert json.loads(server.call("registered_users", host=HOST)[1]) == ["bot"]
    finally:
        server.kill()


def _block(section: str, shown: Mapping[str, object]) -> str:
    return yaml.safe_dump({section: shown[section]}, default_flow_style=False, sort_keys=False)


def test_the_file_for_ejabberd_says_what_the_tests_run(tmp_path: Path) -> None:
    server = Ejabberd(tmp_path, component=NAME)
    server._write_config()  # noqa: SLF001  what it is started with
    run = yaml.safe_load((tmp_path / "ejabberd.yml").read_text("utf-8"))
    shown = yaml.safe_load((EXAMPLE / "ejabberd.yml").read_text("utf-8"))
    (listener,) = shown["listen"]
    (ran,) = [listener for listener in run["listen"] if listener["module"] == "ejabberd_service"]
    assert listener.items() >= {key: ran[key] for key in ("ip", "module", "shaper", "global_routes")}.items()
    assert shown["modules"].pop("mod_push").items() <= run["modules"]["mod_push"].items()
    assert shown["modules"].items() <= run["modules"].items()
    assert list(listener["hosts"]) == [NAME]
