"""Pictures of the web pages for docs/images: light, dark and narrow. `make screenshots` runs it; it runs no test.

A real broker works for a small server that stands in for ejabberd, since the pictures need jobs that fail and jobs that
take their time. Only the three hours before are invented: nobody wants to wait for them.
"""

import hashlib
import json
import math
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
from selenium.webdriver.chrome.webdriver import WebDriver

from restbroker.operate import queues as admin
from restbroker.store import metrics, queues
from restbroker.telemetry.executions import Executions
from tests.support.answering import Arrival
from tests.support.pictures import IMAGES, finish
from tests.support.scripted import Citizen, job
from tests.support.wait import until
from tests.web.browser.chromium import chromium
from tests.web.browser.stage import LATER, MESSAGE, Stage, staged
from tests.web.browser.visitor import Visitor, visiting

LOOKS: Final = {"light": 1280, "dark": 1280, "narrow": 400}
"""And how wide they are, in pixels."""
_TALLEST: Final = 2600
_MINUTES: Final = 180
_SHARES: Final = (0.66, 0.2, 0.08, 0.035, 0.015, 0.006, 0.003, 0.001)
"""Of the jobs done, by how long they took: of the first buckets of Sidekiq's histogram."""
LIVE: Final = {"targets": "/targets", "queues": "/queues", "processes": "/processes", "overview": "/"}
LISTS: Final = {
    "retries": "/retries",
    "scheduled": "/scheduled",
    "in-progress": "/in-progress",
    "audit": "/audit",
    "queue": f"/queue?name={LATER}",
    "pause": "/steer?do=pause-queue&name=rest",
    "refusal": "/nowhere",
    "dead": "/dead",
}

# What fails, by command and user: status and the server's words.
FAILING: Final = {
    ("set_vcard", "omar"): (400, "Argument 'host' is not in format binary"),
    ("register", "mina"): (409, "User mina@example.org already registered"),
    ("srg_user_add", "noor"): (500, "Database failure: timeout"),
    ("add_rosteritem", "aaron"): (500, "internal_error"),
}
HANGING: Final = (("set_presence", "mina"), ("change_password", "lena"), ("check_account", "yusuf"))
UNCERTAIN: Final = ("send_message", "lena")


def main() -> None:
    """Makes the pictures anew."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with chromium(folder / "chromium") as driver:
            _take_pages(folder, driver)


@attrs.frozen
class Play:
    """What the server does with each job, until it is `over`."""

    over: threading.Event = attrs.field(factory=threading.Event)

    def status(self, arrival: Arrival) -> int:
        """The status of the answer."""
        about = _about(arrival)
        if about == UNCERTAIN:
            raise ConnectionAbortedError("The server dies, and nobody knows what it did.")
        if about in HANGING:
            self.over.wait(120)
        return FAILING.get(about, (200, ""))[0]

    def words(self, arrival: Arrival) -> bytes:
        """The answer."""
        status, said = FAILING.get(_about(arrival), (200, ""))
        return b"0" if status == 200 else json.dumps({"status": "error", "code": 22, "message": said}).encode()


def _about(arrival: Arrival) -> tuple[str, str]:
    return arrival.command, str(arrival.arguments.get("user", ""))


def _take_pages(folder: Path, driver: WebDriver) -> None:
    with staged(folder / "pages", _past) as stage, visiting(driver, stage.site) as visitor:
        play = Play()
        stage.citizen.server.act, stage.citizen.server.body = play.status, play.words
        _populate(stage)
        for name, path in LISTS.items():
            visitor.open(path)
            _take(visitor, name)
        visitor.follow(_jid("omar"))
        visitor.sees("First failure")
        _take(visitor, "job")
        visitor.open(f"/job?jid={_jid('omar')}")
        _take(visitor, "story")
        visitor.open("/edit/dead?where=command+%3D+check_account")
        visitor.fill("host", "example.com")
        visitor.tick("Also run them now")
        _take(visitor, "edit")
        visitor.press("Show the difference")
        visitor.sees("This would edit")
        _take(visitor, "difference")
        visitor.open(LISTS["dead"])
        visitor.tick(f"Choose {_jid('lena')}")
        visitor.press("Retry")
        visitor.sees("This would retry")
        _take(visitor, "question")
        for name, path in LIVE.items():
            visitor.open(path)
            visitor.until(lambda: visitor.text("#live-state") == "live", "the page is live")
            _take(visitor, name)
        visitor.open(LISTS["dead"])
        visitor.tick(f"Choose {_jid('selma')}")
        visitor.press("Retry")
        visitor.sees("This would retry")
        visitor.press("Retry")
        visitor.sees("Where these jobs are now")
        _take(visitor, "action")
        play.over.set()


def _take(visitor: Visitor, name: str) -> None:
    """Writes the open page as docs/images/web-NAME-LOOK.png, from its top to its bottom."""
    for look, width in LOOKS.items():
        visitor.prefer("dark" if look == "dark" else "light")
        visitor.resize(width, 300)
        visitor.resize(width, min(int(visitor.ask("document.documentElement.scrollHeight")), _TALLEST))
        picture = IMAGES / f"web-{name}-{look}.png"
        assert visitor.driver.save_screenshot(str(picture)), picture
        finish(picture)


def _past(citizen: Citizen) -> None:
    """Three hours of work up to now, with a quarter of an hour in which the server was slow and failed."""
    chance = random.Random(7)
    minute_s = int(time.time()) // 60 * 60
    done = [_minute(minute_s - 60 * ago, ago, chance) for ago in range(_MINUTES)]
    metrics.add(citizen.client, done)
    citizen.client.command("INCRBY", "stat:processed", sum(one.total for one in done))
    citizen.client.command("INCRBY", "stat:failed", sum(one.failed for one in done))


def _minute(minute_s: int, ago: int, chance: random.Random) -> Executions:
    is_bad = 62 < ago < 77
    processed = round((240 + 80 * math.sin(ago / 23) + chance.uniform(-22, 22)) * (0.55 if is_bad else 1))
    failed = round(processed * 0.12) if is_bad else chance.choice((0, 0, 0, 1, 2))
    slower = 3 if is_bad else 0
    done = Executions(minute_s, "send_message", failed)
    for place, share in enumerate(_SHARES):
        done.times.counts[place + slower] = round((processed - failed) * share * chance.uniform(0.8, 1.2))
    done.times.total_s = processed * 0.025
    return done


def _populate(stage: Stage) -> None:
    citizen = stage.citizen
    for number in range(40):
        stage.push(f"iris{number}", jid=_jid(f"iris{number}"))
    for command, user in FAILING:
        stage.push(user, command, jid=_jid(user))
    command, user = UNCERTAIN
    stage.push(user, command, arguments=MESSAGE, jid=_jid(user))
    citizen.wait_until_in("retry", 2)
    citizen.wait_until_in("dead", 3)
    admin.pause(citizen.client, LATER, "ann", "the database is moved", 7200.0)
    for ago_s, user in enumerate(("marta", "tarek", "selma"), start=2):
        stage.lay("dead", user, time.time() - 3000 * ago_s, retry_count=24, jid=_jid(user))
    for number, (user, after_s) in enumerate(_due()):
        queues.schedule(citizen.client, job(user, jid=_jid(f"{user}-due")), time.time() + after_s + number)
    citizen.push(*(job(f"later{number}", queue=LATER, jid=_jid(f"later{number}")) for number in range(7)), queue=LATER)
    for command, user in HANGING:
        stage.push(user, command, jid=_jid(f"{user}-{command}"))
    citizen.wait_until_recorded(citizen.identity(stage.broker), "busy", str(len(HANGING)))
    until(lambda: citizen.times_sent()["iris39"] == 1, "all others are done")


def _jid(about: str) -> str:
    """An id such as Sidekiq makes, and the same each time."""
    return hashlib.sha256(about.encode()).hexdigest()[:24]


def _due() -> Iterator[tuple[str, float]]:
    yield from (("lina", 900.0), ("samir", 3600.0), ("iris", 4 * 3600.0), ("petra", 24 * 3600.0))


if __name__ == "__main__":
    main()
