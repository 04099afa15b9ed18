"""Every command of the recipes and of other transcripts prints what the page shows, typed on real servers.

What somebody reads then by a page's word, they read. With RECIPES=write in the environment, what was printed is written
into the pages instead.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import attrs
import pytest

from dev.tools.pages import ROOT
from restbroker.store.client import StoreSettings, items, open_client
from tests.docs.nightly import people, person
from tests.docs.nightly.conftest import OWN, RELEASES
from tests.docs.nightly.surroundings import PATIENCE_S, REDIS, SERVER, Server, workplace
from tests.docs.nightly.transcripts import Names, Recipe, difference, recipes, rewritten
from tests.support.ejabberd import SECRET, Ejabberd
from tests.support.ports import free_port
from tests.support.process import started
from tests.support.receiver import Answer, Receiver
from tests.support.wait import until

NAMES: Final = ("tutorial", "alerts", "recipes", "recipes-events", "recipes-rooms", "personal-data")
PAGES: Final = (ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in NAMES))
RECIPES: Final = [recipe for page in PAGES for recipe in recipes(page)]
DOMAIN: Final = "example.org"
PASSWORD: Final = "s3cret"
EVENTS: Final = "127.0.0.1:8081"
DAY_S: Final = 86_400.0
WRITES: Final = os.environ.get("RECIPES") == "write"


@attrs.define
class Setting:
    """What a recipe has around it. `server` is the one that it calls ejabberd; `others` are addresses of its page."""

    ejabberd: Ejabberd
    redis_url: str
    server: Server
    others: dict[str, str] = attrs.field(factory=dict)
    services: dict[str, Server] = attrs.field(factory=dict)
    files: dict[str, str] = attrs.field(factory=dict)
    readers: people.Readers = attrs.field(factory=people.Readers)


@contextmanager
def plain(_setting: Setting) -> Iterator[None]:
    yield


@contextmanager
def another_password(setting: Setting) -> Iterator[None]:
    """The server's next recipe finds the password that it knows."""
    yield
    setting.ejabberd.call("change_password", user="admin", host=DOMAIN, newpass=PASSWORD)


@attrs.define
class App:
    """An application that answers each request with `ok`."""

    receiver: Receiver

    @property
    def url(self) -> str:
        return self.receiver.url

    def start(self) -> None:
        self.receiver.start()

    def stop(self) -> None:
        self.receiver.stop()

    kill = stop

    def call(self, command: str, /, **_: object) -> tuple[int, str]:
        raise NotImplementedError(command)


@contextmanager
def application(setting: Setting) -> Iterator[None]:
    """It stands at both addresses of the page; here these are on loopback, which a target must allow."""
    setting.others[EVENTS] = f"127.0.0.1:{free_port()}"
    with Receiver(lambda _: Answer(200, b"ok")) as receiver:
        setting.others |= dict.fromkeys(("https://app.example.org", "https://hooks.slack.com"), receiver.url)
        setting.others['"Commands": {'] = '"AllowPrivate": true, "Commands": {'
        setting.services["app"] = App(receiver)
        yield


@contextmanager
def chat(setting: Setting) -> Iterator[None]:
    """Users read what is sent to them and their room."""
    setting.others[EVENTS] = f"127.0.0.1:{free_port()}"
    with people.readers(PASSWORD) as (setting.server, setting.readers):
        yield


@contextmanager
def phone(setting: Setting) -> Iterator[None]:
    """A user is away, and can be woken."""
    with people.phone(PASSWORD) as (server, ntfy):
        setting.server = server
        setting.others |= {people.NTFY: ntfy.url, '"Commands": {': '"AllowPrivate": true, "Commands": {'}
        setting.others |= people.component_of(server)
        yield


@contextmanager
def guest(setting: Setting) -> Iterator[None]:
    """A user is there, another is away, and a gateway takes SMS."""
    with people.guest(PASSWORD) as (server, setting.readers), Receiver(lambda _: Answer(200)) as gateway:
        setting.server = server
        setting.others |= {people.GATEWAY: gateway.url, '"Commands": {': '"AllowPrivate": true, "Commands": {'}
        setting.others |= people.component_of(server)
        entering = threading.Thread(target=people.enter, args=(setting.readers.clients[0], setting.redis_url))
        entering.start()
        yield
        entering.join()
        sent = [json.loads(request.body)["to"] for request in gateway.received if request.method == "POST"]
        assert sent in ([], ["+4915155502"])


@contextmanager
def house(setting: Setting) -> Iterator[None]:
    """A user is there and in a room, others are away, two of them for long."""
    with people.house(PASSWORD) as (setting.server, setting.readers):
        yield


@contextmanager
def web_client(setting: Setting) -> Iterator[None]:
    """A user logs in with the token that somebody got for them."""
    with people.house(PASSWORD) as (server, _):
        setting.server = server
        yield
        assert people.is_let_in(server, "ann")


@contextmanager
def dead_yesterday(setting: Setting) -> Iterator[None]:
    """These jobs died at a broker; all but one get the time of a day ago."""
    users = ["admin", "admin", "emma", "admin"]
    with closing(open_client(StoreSettings(setting.redis_url))) as client, TemporaryDirectory() as place:
        configure(Path(place), setting)
        for number, user in enumerate(users, 1):
            client.command("LPUSH", "queue:rest", pushed(number, user))
        with started(["run"], directory=Path(place)):
            until(lambda: client.command("ZCARD", "dead") == len(users), "all are dead", 60)
        for number, raw in enumerate(items(client.command("ZRANGE", "dead", "0", "-1")), 1):
            assert isinstance(raw, bytes)
            is_old = json.loads(raw)["jid"] != jid_of(len(users))
            client.command("ZADD", "dead", time.time() - is_old * DAY_S + number / 1000, raw)
        yield


@contextmanager
def somebody(setting: Setting) -> Iterator[None]:
    """A person is everywhere, and at the end nowhere."""
    ordered = {"TokenFile": "token", "OrderBy": ["user", "host"], "OnDead": "stop", "History": "24h"}
    server = {"RestURL": SERVER, "RestUser": f"admin@{DOMAIN}", "RestPassFile": "password", "JabberDomain": DOMAIN}
    setting.files["env.json"] = json.dumps({"RedisURL": REDIS, "RestQueue": "rest", **server, **ordered})
    with person.everywhere(setting.redis_url):
        yield


def configure(place: Path, setting: Setting) -> None:
    """The recipe's configuration, for a broker that ran before."""
    (place / "env.json").write_text(
        json.dumps(
            {
                "RedisURL": setting.redis_url,
                "RestURL": setting.server.url,
                "RestUser": f"admin@{DOMAIN}",
                "RestPass": PASSWORD,
                "JabberDomain": DOMAIN,
                "RestQueue": "rest",
                "Tokens": {"app": {"Secret": "THE-TOKEN", "Allow": ["register", "check_account"]}},
            }
        )
    )


def jid_of(number: int) -> str:
    return f"5f0c0ffee{number:015x}"


def pushed(number: int, user: str) -> str:
    """A job as an application pushes it."""
    arguments = {"user": user, "host": DOMAIN, "name": "NICKNAME", "content": "Ad"}
    job = {"class": "Restbroker", "args": ["set_vcard", arguments, "THE-TOKEN"], "jid": jid_of(number), "queue": "rest"}
    return json.dumps({**job, "retry": True, "created_at": time.time(), "enqueued_at": time.time()})


AROUND: Final[Mapping[str, Callable[[Setting], AbstractContextManager[None]]]] = {
    "Change the server's password": another_password,
    "Yesterday's dead jobs of one user": dead_yesterday,
    "Erase somebody from Redis": somebody,
    "Call my URL when a message comes": application,
    "Post to a chat room of Slack, Discord, Mattermost": application,
    "2. See that it works": chat,
    "Alerts of programs that cannot post to Slack": chat,
    "One address for each team": chat,
    "Alerts into a room of ejabberd": chat,
    "A bot that greets who enters": guest,
    "Undelivered after ten minutes: send an SMS": guest,
    "Clean up on a schedule": house,
    "Put somebody out of a room, without a ban": house,
    "Announce something to all": house,
    "A chat token for a web client": web_client,
    "Wake phones by ntfy, Gotify or OneSignal, without a worker": phone,
}
assert set(AROUND) <= {recipe.title for recipe in RECIPES}, "A section has another title now."


OF_EJABBERD: Final = {"A room that stays"} | {
    title for title, around in AROUND.items() if around in {chat, phone, guest, house, web_client}
}
"""What runs on each of the releases; what restbroker itself does is the same on all."""
CASES: Final = [
    pytest.param(release, recipe, id=f"{recipe.title}, {release}")
    for release in RELEASES
    for recipe in RECIPES
    if release == OWN or recipe.title in OF_EJABBERD
]


@pytest.fixture(scope="module")
def shared_ejabberd(release: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    """Return an ejabberd of this release."""
    server = Ejabberd(tmp_path_factory.mktemp("ejabberd"), (DOMAIN,), password=PASSWORD).start()
    yield server
    server.kill()


@pytest.mark.parametrize(("release", "recipe"), CASES, indirect=["release"])
def test_each_command_of_a_recipe_prints_what_the_page_shows(
    recipe: Recipe, release: str, shared_ejabberd: Ejabberd, redis_url: str, tmp_path: Path
) -> None:
    if "23.01" in shared_ejabberd.call("status")[1]:
        recipe = recipe.without("/v1")
    shown = {name: text.replace("THE-PASSWORD", PASSWORD) for name, text in recipe.files.items()}
    secrets = {"token": "THE-TOKEN\n", "app_token": "THE-TOKEN\n", "password": f"{PASSWORD}\n"}
    secrets |= {name: f"{name}-of-many-letters\n" for name in ("alerts_token", "rooms_token", "hook")}
    secrets["component-password"] = f"{SECRET}\n"
    setting = Setting(shared_ejabberd, redis_url, shared_ejabberd)
    names = Names()
    with AROUND.get(recipe.title, plain)(setting):
        addresses = {REDIS: redis_url, SERVER: setting.server.url, **setting.others}
        services = {"ejabberd": setting.server, **setting.services}
        with workplace(tmp_path, {**secrets, **setting.files, **shown}, addresses, services) as at:
            printed = [at.type(step, names, 3.0 if WRITES else PATIENCE_S) for step in recipe.steps]
            assert setting.readers.read(recipe.read) == recipe.read
    differs = difference(recipe, printed, names)
    if differs and WRITES and release == OWN:
        page = recipe.page
        now = next(known for known in recipes(page) if known.title == recipe.title)
        page.write_text(rewritten(page.read_text("utf-8"), now, printed, names), "utf-8")
    else:
        assert not differs, f"{differs}\n\nRECIPES=write writes what is printed now into {recipe.page.name}."
