"""A real Prosody: which addresses it takes, the page's recipes for tokens, and how what its clients send becomes jobs.

Against our stand-in for mod_rest.
"""

import json
import re
import subprocess
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from restbroker.job.jid import BadAddress, read_domain, read_local
from restbroker.servers.api.jid import is_jid
from restbroker.store import queues
from restbroker.store.client import Client as Store
from restbroker.store.client import StoreSettings, open_client
from tests.support.process import Running, started
from tests.support.prosody import Prosody
from tests.support.redis_server import RedisServer
from tests.support.roster_service import RosterService
from tests.support.wait import until
from tests.support.xmpp import Clients

PREPARED = """
package.path = "/usr/lib/prosody/?.lua;" .. package.path
package.cpath = "/usr/lib/prosody/?.so;" .. package.cpath
local prepare = require "util.encodings".stringprep
for text in io.lines() do
  print(prepare.nodeprep(text) == text and 1 or 0, prepare.nameprep(text) == text and 1 or 0)
end
"""
# Beyond, letters come in long blocks of one kind.
CODES = (*range(0x20, 0x3100), *range(0x3100, 0x30000, 13))
LETTERS = [chr(code) for code in CODES if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co")]


def is_taken(text: str, *, as_domain: bool) -> bool:
    try:
        (read_domain if as_domain else read_local)(text)
    except BadAddress:
        return False
    return True


def test_accepted_name_reaches_prosody_unchanged_in_any_letter() -> None:
    texts = [form.format(letter) for form in ("a{}b", "א{}א") for letter in LETTERS]
    lines = "".join(f"{text}\n" for text in texts).encode()
    done = subprocess.run(["lua5.4", "-e", PREPARED], input=lines, capture_output=True, check=True)
    answers = [line.split() for line in done.stdout.decode().splitlines()]
    for column, as_domain in ((0, False), (1, True)):
        ours = [text for text in texts if is_taken(text, as_domain=as_domain)]
        theirs = {text for text, answer in zip(texts, answers, strict=True) if answer[column] == "1"}
        assert [text for text in ours if text not in theirs] == []
        # Ours are fewer by blanks and signs in domains, and by large letters that are younger than its tables.
        assert len(theirs) - len(ours) < 1000


JIDS = [
    *("a@b", "A@B/c", "b", "a@b/ ", "a.b+c@x-y.z", "я@пример.рф", "a@[::1]", "א@b", "ab@אב", "a@b/📱", "ß@ß.de"),
    "a@b/\u0085",
    *("", "@", "@@", "a@", "@b", "a@b/", "a b@c", "a@b@c", "a@א.b", "א1@b", "\u00ad@b", "a:b@c", "a\u00a0@b"),
    *("a@\ufffd", "x" * 1024 + "@b", "a@b/" + "é" * 512, "a\u0340@b", "\ue000@b"),
]
PREP = """
package.path, package.cpath = "{0}/?.lua;" .. package.path, "{0}/?.so;" .. package.cpath
local jid, json = require "util.jid", require "util.json"
for line in io.lines() do print(jid.prep(json.decode(line)[1]) and "yes" or "no") end
"""


def test_no_address_is_let_through_that_prosody_takes_for_none() -> None:
    """It would say 202 to it, and nobody would be sent anything."""
    lines = "\n".join(json.dumps([text], ensure_ascii=False) for text in JIDS)
    code = PREP.format("/usr/lib/prosody")
    done = subprocess.run(["lua5.4", "-e", code], input=lines, capture_output=True, text=True, check=True)
    takes = [answer == "yes" for answer in done.stdout.split()]
    assert len(takes) == len(JIDS)
    assert {text for text, is_one in zip(JIDS, takes, strict=True) if is_jid(text) and not is_one} == set()
    assert [is_jid(text) for text in JIDS[:11]] == [True] * 11


ROOT = Path(__file__).parents[3]
RECIPES = re.findall(
    r"^prosodyctl shell .*create_.*$", (ROOT / "docs/servers/prosody.md").read_text("utf-8"), re.MULTILINE
)


def recorded() -> list[dict[str, Any]]:
    lines = (ROOT / "tests/recorded/prosody/token_recipes.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_one_recipe_printed_a_token_on_each_version_with_an_api() -> None:
    for version in ("0.12.3", "13.0.1"):
        own = {recipe["recipe"]: recipe for recipe in recorded() if recipe["version"] == version}
        [good] = [own[recipe] for recipe in RECIPES if own[recipe].get("admin_api") == 200]
        assert good["printed"].startswith("Result: ")
        assert good["rest"] == 200
        assert good["command"].startswith("The following accounts could not be deleted:")  # it was allowed to try


def test_recipe_for_0_12_prints_a_token_the_admin_api_takes(make_prosody: Callable[..., Prosody]) -> None:
    prosody = make_prosody()
    prosody.register("broker")
    assert len(RECIPES) == 2
    command = RECIPES[0].replace("prosodyctl", f"prosodyctl --config {prosody.directory}/prosody.cfg.lua", 1)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    printed = done.stdout.strip().splitlines()[-1]
    assert printed.startswith("Result: "), done.stdout + done.stderr
    headers = {"Authorization": f"Bearer {printed.removeprefix('Result: ')}"}
    assert prosody.call("GET", "/admin_api/users", headers=headers)[0] == 200


QUEUE = "xmpp_events"


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[Store]:
    client = open_client(StoreSettings(redis_server.url))
    yield client
    client.close()


@contextmanager
def broker(place: Path, redis: RedisServer, prosody: Prosody, **more: Any) -> Iterator[Running]:
    """Takes the events of this Prosody in; `more` is of its source."""
    source = {"Kind": "prosody-rest", "Path": prosody.hook_path, "Queue": QUEUE, "Class": "XmppEvent", **more}
    document = {
        "RedisURL": redis.url,
        "RestURL": "http://127.0.0.1:1/api",
        "RestQueue": "rest",
        "Token": "t",
        "Events": {"Listen": f"127.0.0.1:{prosody.hook_port}", "Sources": {"prosody": source}},
    }
    (place / "env.json").write_text(json.dumps(document))
    with started(["run"], directory=place) as running:
        running.wait_for("listening what=events")
        yield running


def events(store: Store) -> list[dict[str, Any]]:
    """Those of the jobs in the queue, the first that came first."""
    return [json.loads(job)["args"][0] for job in queues.peek(store, QUEUE, 0, 10_000)]


def test_stanza_as_xml_keeps_elements_json_loses_and_its_name(
    make_prosody: Callable[..., Prosody],
    roster_service: RosterService,
    redis_server: RedisServer,
    store: Store,
    tmp_path: Path,
) -> None:
    prosody = make_prosody(hook_type="application/xmpp+xml", roster_port=roster_service.port)
    prosody.register("john")
    options = {"XML": True, "Name": "Tea bot"}
    with broker(tmp_path, redis_server, prosody, Options=options), Clients(prosody.c2s_port, prosody.host) as clients:
        john = clients.login("john")
        john.send(f"<message to='bot@{prosody.hook_host}' type='chat'><body>hi</body><odd xmlns='urn:odd'/></message>")
        (event,) = until(lambda: events(store), "it is a job", 60)
        assert (event["body"], event["raw"]["kind"]) == ("hi", "message")
        assert "urn:odd" in event["raw"]["xml"]
        assert john.ask(f"bot@{prosody.hook_host}", "<query xmlns='jabber:iq:version'/>") == ("result", None)
        assert john.ask(f"bot@{prosody.hook_host}", "<query xmlns='urn:odd'/>") == ("error", "service-unavailable")


def test_sender_learns_that_redis_is_away_and_may_try_again(
    prosody: Prosody,
    roster_service: RosterService,
    clients: Clients,
    redis_server: RedisServer,
    store: Store,
    tmp_path: Path,
) -> None:
    prosody.register("john")
    john = clients.login("john")
    with broker(tmp_path, redis_server, prosody) as running:
        redis_server.suspend()
        try:
            john.say(f"bot@{prosody.hook_host}", "lost")
            (bounced,) = john.messages.wait_for_number(1)
            assert (bounced.kind, bounced.condition) == ("error", "recipient-unavailable")
        finally:
            redis_server.resume()
        running.wait_for("code=EventNotTaken")
        john.say(f"bot@{prosody.hook_host}", "kept")
        until(lambda: "kept" in [event["body"] for event in events(store)], "the next one is taken", 60)
