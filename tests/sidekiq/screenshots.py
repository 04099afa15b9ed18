"""A picture of Sidekiq Web with restbroker in it, for docs/images: `python -m tests.sidekiq.screenshots`. Runs no test.

A real broker works for a small server that stands in for ejabberd, since the picture needs jobs that
take their time; the page is that of Debian's Sidekiq 6.4.1, in Debian's Chromium.
"""

import json
import secrets
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from restbroker.job.json_types import Json
from tests.support.answering import Arrival
from tests.support.pictures import IMAGES, finish, run
from tests.support.scripted import Citizen, job
from tests.support.sidekiq_web import SidekiqWeb, among_ruby
from tests.support.wait import until

TOKEN: Final = "a token that is only for this picture"
HOST: Final = "example.org"
STAFF: Final = {"host": HOST, "group": "staff", "grouphost": HOST}
DONE: Final = 240

# What takes its time while the picture is made.
HANGING: Final[tuple[tuple[str, dict[str, Json]], ...]] = (
    ("send_message", {"from": f"shop@{HOST}", "to": f"aaron@{HOST}", "body": "Order 1207 is on its way"}),
    ("set_presence", {"user": "mina", "host": HOST, "resource": "phone", "show": "away"}),
    ("register", {"user": "lena", "host": HOST, "password": "never shown"}),
    ("change_password", {"user": "omar", "host": HOST, "newpass": "never shown"}),
    ("srg_user_add", {"user": "lena", **STAFF}),
)


def main() -> None:
    """Makes the picture again."""
    stage = Stage()
    with tempfile.TemporaryDirectory() as folder, among_ruby(Path(folder), lambda _: b"0") as (citizen, web):
        citizen.server.act = stage
        camera = Camera(web, Path(folder, "profile"))
        _populate(citizen)
        camera.take("/busy", "sidekiq-busy.png", height=1240)
        stage.over.set()


@attrs.frozen
class Stage:
    """What the server does with each job, until it is `over`."""

    over: threading.Event = attrs.field(factory=threading.Event)

    def __call__(self, arrival: Arrival) -> int:
        """The status of the answer."""
        if any(_is(arrival, command, wanted) for command, wanted in HANGING):
            self.over.wait(60)
        return 200


@attrs.frozen
class Camera:
    """Chromium without a window; `profile` is where it keeps what it keeps."""

    web: SidekiqWeb
    profile: Path

    def take(self, path: str, name: str, height: int) -> None:
        """Writes a page as docs/images/`name`, 1280 × `height` pixels. Fails where it is too large for the docs."""
        picture = IMAGES / name
        picture.parent.mkdir(exist_ok=True)
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size=1280,{height}"]
        where = [f"--user-data-dir={self.profile}", f"--screenshot={picture}"]
        run("chromium", *options, *where, str(self.web.client.base_url.join(path)))
        finish(picture)


def _is(arrival: Arrival, command: str, arguments: Mapping[str, Json]) -> bool:
    # restbroker may have added the host.
    return arrival.command == command and arguments.items() <= arrival.arguments.items()


def _populate(citizen: Citizen) -> None:
    citizen.configure(Tokens={"app": {"Secret": TOKEN, "Allow": ["*"]}})
    brokers = [citizen.start(), citizen.start()]
    names = [citizen.identity(broker) for broker in brokers]
    for number in range(DONE):
        citizen.push(_job("send_message", {"to": f"user{number}@{HOST}", "body": "Hello"}))
    citizen.wait_until_sent(DONE)
    for command, arguments in HANGING:
        citizen.push(_job(command, arguments))
    citizen.wait_until_sent(DONE + len(HANGING))
    until(
        lambda: sum(int(citizen.record(name)["busy"]) for name in names) == len(HANGING),
        "every job in progress is shown",
    )


def _job(command: str, arguments: dict[str, Json]) -> bytes:
    fields = {**json.loads(job("")), "args": [command, arguments, TOKEN], "jid": secrets.token_hex(12)}
    return json.dumps(fields).encode()


if __name__ == "__main__":
    main()
