"""Pictures of Sidekiq Web with restbroker in it, for docs/images: `make screenshots`. Runs no test.

A real broker works for a small server that stands in for ejabberd, since the pictures need jobs that fail and jobs that
take their time; the pages are those of Debian's Sidekiq 6.4.1, in Debian's Chromium.
"""

import json
import secrets
import tempfile
import threading
import time
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

TOKEN: Final = "a token that is only for these pictures"
HOST: Final = "example.org"
STAFF: Final = {"host": HOST, "group": "staff", "grouphost": HOST}
ROOM: Final = {"name": "team", "service": f"conference.{HOST}"}
DONE: Final = 240

# What fails, with the server's words: command, arguments, earlier failures.
FAILING: Final[tuple[tuple[str, dict[str, Json], int, str], ...]] = (
    ("send_message", {"from": f"shop@{HOST}", "to": f"iris@{HOST}", "body": "Order 1206"}, 0, "internal_error"),
    ("add_rosteritem", {"localuser": "aaron", "user": "mina", "nick": "Mina"}, 2, "Database failure: timeout"),
    ("set_room_affiliation", {**ROOM, "jid": f"omar@{HOST}", "affiliation": "admin"}, 1, "internal_error"),
    ("srg_user_add", {"user": "noor", **STAFF}, 4, "Database failure: timeout"),
)
# What takes its time while the pictures are made.
HANGING: Final[tuple[tuple[str, dict[str, Json]], ...]] = (
    ("send_message", {"from": f"shop@{HOST}", "to": f"aaron@{HOST}", "body": "Order 1207 is on its way"}),
    ("set_presence", {"user": "mina", "host": HOST, "resource": "phone", "show": "away"}),
    ("register", {"user": "lena", "host": HOST, "password": "never shown"}),
    ("change_password", {"user": "omar", "host": HOST, "newpass": "never shown"}),
    ("srg_user_add", {"user": "lena", **STAFF}),
)


def main() -> None:
    """Makes the pictures anew."""
    stage = Stage()
    with tempfile.TemporaryDirectory() as folder, among_ruby(Path(folder), stage.words) as (citizen, web):
        citizen.server.act = stage
        camera = Camera(web, Path(folder, "profile"))
        first, second = _populate(citizen)
        camera.take("/busy", "sidekiq-busy.png", height=1240)
        camera.take("/retries", "sidekiq-retries.png", height=860)
        page = web.open("/busy")
        web.press(page, page.form(identity=first), "quiet")
        citizen.wait_until_recorded(first, "quiet", "true")
        citizen.wait_until_recorded(second, "quiet", "false")
        camera.take("/busy", "sidekiq-quiet.png", height=1240)
        stage.over.set()


@attrs.frozen
class Stage:
    """What the server does with each job, until it is `over`."""

    over: threading.Event = attrs.field(factory=threading.Event)

    def __call__(self, arrival: Arrival) -> int:
        """The status of the answer."""
        if any(_is(arrival, command, wanted) for command, wanted in HANGING):
            self.over.wait(60)
        return 200 if self._failure(arrival) is None else 500

    def words(self, arrival: Arrival) -> bytes:
        """The answer."""
        failure = self._failure(arrival)
        return b"0" if failure is None else json.dumps({"status": "error", "message": failure}).encode()

    def _failure(self, arrival: Arrival) -> str | None:
        said = (words for command, wanted, _, words in FAILING if _is(arrival, command, wanted))
        return next(said, None)


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


def _populate(citizen: Citizen) -> list[str]:
    """The brokers' names among Sidekiq's processes."""
    citizen.configure(Tokens={"app": {"Secret": TOKEN, "Allow": ["*"]}})
    brokers = [citizen.start(), citizen.start()]
    names = [citizen.identity(broker) for broker in brokers]
    for number in range(DONE):
        citizen.push(_job("send_message", {"to": f"user{number}@{HOST}", "body": "Hello"}))
    citizen.wait_until_sent(DONE)
    for command, arguments, failures, _ in FAILING:
        earlier: dict[str, Json] = {"retry_count": failures - 1, "failed_at": time.time() - 900.5} if failures else {}
        citizen.push(_job(command, arguments, earlier))
    citizen.wait_until_in("retry", len(FAILING))
    for command, arguments in HANGING:
        citizen.push(_job(command, arguments))
    citizen.wait_until_sent(DONE + len(FAILING) + len(HANGING))
    until(
        lambda: sum(int(citizen.record(name)["busy"]) for name in names) == len(HANGING),
        "every job in progress is shown",
    )
    return names


def _job(command: str, arguments: dict[str, Json], more: Mapping[str, Json] | None = None) -> bytes:
    fields = {**json.loads(job("")), "args": [command, arguments, TOKEN], "jid": secrets.token_hex(12), **(more or {})}
    return json.dumps(fields).encode()


if __name__ == "__main__":
    main()
