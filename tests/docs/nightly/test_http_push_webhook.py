"""The blocks of http.md, servers/webhook.md and push.md, pasted as they stand, print what these pages show.

Only addresses, folders and secrets are others. With RECIPES=write in the environment, what was printed is written into
the pages instead.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from dev.tools.pages import ROOT, blocks
from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from tests.docs.nightly.surroundings import PATIENCE_S, REDIS, Server, workplace
from tests.docs.nightly.transcripts import Names, difference, recipes, rewritten
from tests.support import ejabberd as support
from tests.support.ejabberd import Ejabberd
from tests.support.ports import free_port
from tests.support.process import started
from tests.support.prosody import Prosody
from tests.support.receiver import Answer, Receiver
from tests.support.ruby import environment, ruby
from tests.support.wait import until
from tests.support.xmpp import Clients

HTTP: Final = ROOT / "docs" / "http.md"
WEBHOOK: Final = ROOT / "docs" / "servers" / "webhook.md"
PUSH: Final = ROOT / "docs" / "push.md"
PUSH_DETAILS: Final = PUSH.with_stem("push-details")
FOLDER: Final = "/etc/restbroker/"
DOMAIN: Final = "example.org"
PASSWORD: Final = "s3cret"
WRITES: Final = os.environ.get("RECIPES") == "write"
SPEAKS: Final = """\
  - port: PORT
    ip: "127.0.0.1"
    module: ejabberd_c2s
    starttls: false
    shaper: none
"""

# What an application has: its device, and what calls Google's service.
APPLICATION: Final = """\
require "json"
require "sidekiq"
require "active_support"
require "active_support/security_utils"

Device = Struct.new(:id, :node, :secret, :token) do
  def self.find_by(node:) = [new(1, "k3JxQ0yT", "the-secret", "phone-1")].find { |device| device.node == node }

  def destroy = puts("destroyed")
end

module Fcm
  Unregistered = Class.new(StandardError)

  def self.deliver(token, **options)
    puts JSON.generate([token, options])
    raise Unregistered if ENV["UNREGISTERED"]
  end
end
"""


def typed(
    page: Path, place: Path, addresses: Mapping[str, str], secrets: Mapping[str, str], services: Mapping[str, Server]
) -> None:
    """Type what the page has to type, in a folder with its files, and compare."""
    [recipe] = recipes(page)
    written = {name: f"{text}\n" for name, text in secrets.items()}
    names = Names()
    with workplace(place, {**written, **recipe.files}, addresses, services) as at:
        printed = [at.type(step, names, 3.0 if WRITES else PATIENCE_S) for step in recipe.steps]
    differs = difference(recipe, printed, names)
    if differs and WRITES:
        page.write_text(rewritten(page.read_text("utf-8"), recipe, printed, names), "utf-8")
    else:
        assert not differs, f"{differs}\n\nRECIPES=write writes what is printed now into {page.name}."


def events(redis_url: str, queue: str) -> list[Any]:
    """Return those of the jobs in the queue."""
    with closing(open_client(StoreSettings(redis_url))) as store:
        return [json.loads(job)["args"][0] for job in queues.peek(store, queue, 0, 100)]


def test_a_job_calls_the_api_as_http_md_shows_it(redis_url: str, tmp_path: Path) -> None:
    asked = {"authorization": "Bearer the-token", "accept": "application/json", "x-api-key": "the-key"}
    with Receiver(lambda request: Answer(200, b'{"saved":true}' if request.method == "PUT" else b"{}")) as api:
        addresses = {
            REDIS: redis_url,
            FOLDER: f"{tmp_path}/",
            "https://api.example.org": api.url,
            '"Probe"': '"AllowPrivate": true, "Probe"',
        }
        secrets = {"token": "THE-TOKEN", "shop": "the-token", "key": "the-key", "signing": "whsec_" + "QUJD" * 10}
        typed(HTTP, tmp_path, addresses, secrets, {})
        assert {request.target for request in api.received if request.method == "GET"} == {"/v1/me"}
        [got] = [request for request in api.received if request.method != "GET"]
    page = HTTP.read_text("utf-8")
    assert f"`{got.method} {got.target}`" in page
    assert f"`{got.body.decode()}`" in page
    assert asked.items() <= got.headers.items()
    assert got.headers["webhook-signature"].startswith("v1,")


def test_a_post_becomes_a_job_as_webhook_md_shows_it(redis_url: str, tmp_path: Path) -> None:
    addresses = {REDIS: redis_url, FOLDER: f"{tmp_path}/", "127.0.0.1:8081": f"127.0.0.1:{free_port()}"}
    # The page's file names neither, since both have these by default.
    addresses['"RestQueue": "rest",'] = f'"RedisURL": "{redis_url}", "RestQueue": "rest",'
    addresses['"Sources": {'] = f'"Listen": "{addresses["127.0.0.1:8081"]}", "Sources": {{'
    typed(WEBHOOK, tmp_path, addresses, {"jitsi": "a-secret-of-at-least-16-letters"}, {})
    [event] = events(redis_url, "rooms")
    shown = {"type": "created", "room": "tea@conference.meet.example.org", "name": "tea", "at": 1795805691}
    assert event.items() >= shown.items()


@pytest.fixture
def ejabberd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ejabberd]:
    """A server with the listener and the module of push.md, and with the users `ann` and `bob`."""
    server = Ejabberd(tmp_path / "ejabberd", (DOMAIN,), password=PASSWORD)
    [block] = blocks(PUSH, "yaml")
    listener, are_modules, modules = block.removeprefix("listen:\n").partition("modules:\n")
    assert are_modules
    listener = listener.replace("5347", str(server.component_port)) + SPEAKS.replace("PORT", str(server.c2s_port))
    whole = support.CONFIG
    for place, lines in (("{listeners}", listener), ("{modules}", modules)):
        whole = whole.replace(place, lines.replace("{", "{{").replace("}", "}}"))
    monkeypatch.setattr(support, "CONFIG", whole)
    server.start()
    try:
        for user in ("ann", "bob"):
            assert server.call("register", user=user, host=DOMAIN, password=PASSWORD)[0] == 200
        yield server
    finally:
        server.kill()


def test_an_absent_receiver_is_told_as_push_md_shows_it(ejabberd: Ejabberd, redis_url: str, tmp_path: Path) -> None:
    [enable] = blocks(PUSH, "xml")
    with Clients(ejabberd.c2s_port, DOMAIN) as clients:
        bob = clients.login("bob", PASSWORD)
        bob.send(enable.replace("…", "the-secret"))
        bob.ask(DOMAIN, "<ping xmlns='urn:xmpp:ping'/>")
        bob.logout()
        until(lambda: ejabberd.call("user_sessions_info", user="bob", host=DOMAIN) == (200, "[]"), "bob is away", 60)
    addresses = {REDIS: redis_url, '"Token": "…"': f'"RedisURL": "{redis_url}", "Token": "t"'}
    name = '"Name": "push.example.org"'
    addresses[name] = f'"Address": "127.0.0.1:{ejabberd.component_port}", {name}'
    place = tmp_path / "place"
    place.mkdir()
    typed(PUSH, place, addresses, {"component-password": "A SECRET"}, {"ejabberd": ejabberd})
    [event] = events(redis_url, "xmpp_push")
    [shown] = [json.loads(block) for block in blocks(PUSH_DETAILS, "json") if "received_at" in block]
    assert [*event] == [*shown]
    assert (event["from"], event["raw"]["options"]) == (f"ann@{DOMAIN}", {"secret": "the-secret"})
    assert [event["node"], event["raw"]["node"]] == [shown["node"]] * 2
    wakes = '["phone-1",{"collapse_key":"xmpp","data":{"wake":1}}]'
    forged = event | {"raw": event["raw"] | {"options": {"secret": "another"}}}
    assert performed(forged, redis_url) == []
    assert performed(event | {"from": None, "body": None}, redis_url) == []
    assert performed(event, redis_url) == [wakes]
    assert performed(event, redis_url) == [], "Twice within ten seconds."
    with closing(open_client(StoreSettings(redis_url))) as store:
        store.command("DEL", "woken:1")
    assert performed(event, redis_url, UNREGISTERED="1") == [wakes, "destroyed"]


def test_a_prosody_tells_it_with_the_lines_of_the_details(redis_url: str, tmp_path: Path) -> None:
    [lines] = blocks(PUSH_DETAILS, "lua")
    above, is_component, component = lines.partition("Component ")
    hosts = f'VirtualHost "{DOMAIN}"\n    modules_enabled = {{ "roster", "cloud_notify" }}\n'
    port = free_port()
    included = above.replace("5347", str(port)) + hosts + is_component + component.replace("THE PASSWORD", "A SECRET")
    [file] = recipes(PUSH)[0].files.values()
    shown = json.loads(file)
    options = shown["Events"]["Sources"]["push"]["Options"]
    del options["Take"]
    options |= {"Address": f"127.0.0.1:{port}"}
    shown["Events"]["Sources"]["push"]["Kind"] = "prosody-component"
    (tmp_path / "env.json").write_text(json.dumps(shown | {"RedisURL": redis_url, "Token": "t"}))
    (tmp_path / "component-password").write_text("A SECRET")
    server = Prosody(tmp_path / "prosody", included=included).start()
    try:
        server.register("ann", "bob", password=PASSWORD)
        with Clients(server.c2s_port, DOMAIN) as clients, started(["run"], directory=tmp_path) as broker:
            broker.wait_for(r"source\.opened source=push")
            ann, bob = (clients.login(user, PASSWORD) for user in ("ann", "bob"))
            assert bob.ask("push.example.org", "<ping xmlns='urn:xmpp:ping'/>") == ("result", None)
            bob.send(blocks(PUSH, "xml")[0].replace("…", "the-secret"))
            bob.ask(DOMAIN, "<ping xmlns='urn:xmpp:ping'/>")
            bob.logout()
            ann.say(f"bob@{DOMAIN}", "Are you there?")
            until(lambda: events(redis_url, "xmpp_push"), "it is told", 60)
    finally:
        server.kill()
    [event] = events(redis_url, "xmpp_push")
    assert (event["type"], event["node"], event["raw"]["options"]) == ("push", "k3JxQ0yT", {"secret": "the-secret"})


def performed(event: object, redis_url: str, **environ: str) -> list[str]:
    """Return what the application was told by the page's worker, which Sidekiq gives this event."""
    [worker] = blocks(PUSH_DETAILS, "ruby")
    done = subprocess.run(
        [ruby(), "-e", f"{APPLICATION}\n{worker}\nXmppPush.new.perform(JSON.parse($stdin.read))"],
        input=json.dumps(event), env=environment(redis_url, extra=environ), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
