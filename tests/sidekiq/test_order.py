"""A real Ruby clears and deletes whatever it sees while a thousand keys are held: no key stays stuck, no job is lost.

What is lost is what Ruby deleted: it stood in a queue's list, or in the dead set. What waits for its predecessor, and
what is to be tried again, Ruby does not see. ORDER_HELD is the number of keys that are held (1,000).
"""

import json
import os
import threading
import time
from collections import Counter, defaultdict
from typing import Final

import attrs

from restbroker.store import order
from restbroker.store.replies import integer
from tests.support.answering import Arrival
from tests.support.redis_line import Tell
from tests.support.scripted import QUEUE, Citizen
from tests.support.shared import TOKEN
from tests.support.wait import until

KEYS = int(os.environ.get("ORDER_HELD", "1000"))
IN_PROGRESS: Final = 5
"""So many keys have a job in progress all the time; of the others every second one is stopped, and one put off."""
TARGET: Final = "ejabberd"
MEDDLES: Final = 6
RETRIED: Final = max(1, KEYS // 50)
ROUNDS: Final = 20


def key_of(number: int) -> str:
    return f"{'hangs' if number < IN_PROGRESS else 'dies' if number % 2 else 'fails'}{number}"


def job(key: str, number: int) -> bytes:
    args = ["check_account", {"user": key, "host": "example.org", "n": number}, TOKEN]
    fields = {"class": "Add", "args": args, "jid": f"{key}-{number}", "queue": QUEUE, "retry": True}
    # After so many tries the next one is days away.
    return json.dumps({**fields, "retry_count": 20, "created_at": time.time()}).encode()


@attrs.define
class Meddled:
    """What Ruby did meanwhile, and the ids of the jobs that were pushed while it did."""

    pushed: list[str] = attrs.field(factory=list)
    retried: set[str] = attrs.field(factory=set)
    deleted: set[str] = attrs.field(factory=set)
    cleared: Counter[str] = attrs.field(factory=Counter)


@attrs.define(eq=False)
class Scene:
    """The server's side: what the first job of a key is answered until it is mended."""

    citizen: Citizen
    sent: dict[str, list[int]] = attrs.field(factory=lambda: defaultdict(list))
    done: set[str] = attrs.field(factory=set)
    mended: threading.Event = attrs.field(factory=threading.Event)
    released: threading.Event = attrs.field(factory=threading.Event)

    def act(self, arrival: Arrival) -> int:
        key, number = str(arrival.arguments["user"]), int(arrival.arguments["n"])
        self.sent[key].append(number)
        if number == 0 and key.startswith("hangs"):
            self.released.wait(600)
        elif number == 0 and key.startswith("fails") and not self.mended.is_set():
            return 500
        elif number == 0 and key.startswith("dies") and not (self.mended.is_set() or self.is_cured(key)):
            return 400
        self.done.add(f"{key}-{number}")
        return 200

    def is_cured(self, key: str) -> bool:
        """Whether its first job, which died, is done when it comes again: so it is with half of them."""
        return len(self.sent[key]) > 1 and key[-1] in "159"

    def states(self) -> Counter[str]:
        (found,) = order.count(self.citizen.client, {TARGET: []}).values()
        return Counter(found.states)

    def steer(self, what: order.KeyAction, state: order.State) -> int:
        """People do this with all keys in this state."""
        pages = order.read_keys(self.citizen.client, TARGET)
        keys = {one.key: one for page in pages for one in page if one.state == state}
        return sum(order.steer(self.citizen.client, TARGET, [QUEUE], what, list(keys.values())))

    def listed(self) -> int:
        return self.citizen.queued()

    def waiting(self) -> int:
        return integer(self.citizen.client.command("HLEN", f"restbroker:fair:wait:{QUEUE}"))


def held(citizen: Citizen) -> Scene:
    """A thousand keys are held, two jobs wait with each, and nothing is in a list."""
    scene = Scene(citizen)
    citizen.server.act = scene.act
    citizen.configure(OrderBy=["user"], OnDead="stop", ShutdownTimeout="1s")
    citizen.start()
    for number in range(KEYS):
        # What is done at once keeps the target from being down.
        citizen.push(job(key_of(number), 0), job(f"free{number}", 0), job(key_of(number), 1), job(key_of(number), 2))
    names = [key_of(number) for number in range(KEYS)]
    moods = {"hangs": "in_progress", "dies": "stopped", "fails": "due"}
    states = Counter(state for name in names for mood, state in moods.items() if name.startswith(mood))
    until(lambda: scene.states() == states and not scene.listed(), "all keys are held, all jobs are in their lines")
    # What is put off waits before its line.
    assert scene.waiting() == 2 * KEYS + states["due"]
    assert citizen.size("dead") == states["stopped"]
    assert len(scene.done) == KEYS
    return scene


def meddle(scene: Scene) -> Meddled:
    """More jobs of the held keys, and of others, are pushed while Ruby retries dead jobs and clears."""
    citizen, found, is_over = scene.citizen, Meddled(), threading.Event()

    def keep_pushing() -> None:
        place = 0
        while not is_over.is_set():
            some = [(key_of((place * 7 + one) % KEYS), 3 + place) for one in range(7)]
            some += [(f"new{place}", 0), (f"new{place}", 1)]
            found.pushed += [f"{key}-{number}" for key, number in some]
            citizen.push(*(job(key, number) for key, number in some))
            place += 1
            time.sleep(0.02)

    openers = [f"{key}-0" for key in map(key_of, range(KEYS)) if key.startswith("dies")]
    pusher = threading.Thread(target=keep_pushing)
    pusher.start()
    try:
        for turn in range(MEDDLES):
            some = openers[turn * RETRIED : (turn + 1) * RETRIED]
            is_last = turn == MEDDLES - 1
            said = citizen.ask("clears.rb", queue=QUEUE, retry=list(some), delete=3, times=ROUNDS, dead=is_last)
            found.retried |= set(said["retried"])
            found.deleted |= set(said["deleted"])
            found.cleared.update(said["cleared"])
    finally:
        is_over.set()
        pusher.join()
    return found


def wait_until_at_rest(scene: Scene) -> Counter[str]:
    """People open what Ruby left closed: they try again what is put off, and skip what died. Returns how many keys."""
    steered: Counter[str] = Counter()

    def is_at_rest() -> bool:
        steered["retried"] += scene.steer("retry", "due")
        steered["skipped"] += scene.steer("skip", "stopped")
        time.sleep(0.2)
        return not scene.states()

    until(is_at_rest, "no key is held")
    scene.citizen.wait_until_idle()
    return steered


def test_ruby_clears_everything_while_a_thousand_keys_are_held(citizen: Citizen, tell: Tell) -> None:
    scene = held(citizen)
    waiting = scene.waiting()
    found = meddle(scene)
    assert len(found.retried) == RETRIED * MEDDLES
    assert found.cleared["retry"] == found.cleared["schedule"] == 0, "what is ordered is never where Ruby clears"
    assert found.cleared["dead"] > 0
    until(lambda: not scene.listed(), "nothing is in the list")
    opened = [key for key in scene.sent if key.startswith("dies") and f"{key}-0" in scene.done]
    assert scene.waiting() >= waiting - 2 * len(opened), "what waits in lines is still there"

    scene.mended.set()
    scene.released.set()
    steered = wait_until_at_rest(scene)
    assert not citizen.client.command("KEYS", "restbroker:fair:*")
    assert not citizen.client.command("EXISTS", f"restbroker:order:due:{QUEUE}", "retry", "schedule", "dead")
    early = {f"{key_of(number)}-{place}" for number in range(KEYS) for place in range(3)}
    openers, lost = {jid for jid in early if jid[0] == "d" and jid.endswith("-0")}, {*early, *found.pushed} - scene.done
    count = len(early) + len(found.pushed)
    tell(
        f"{KEYS} keys: Ruby cleared {dict(found.cleared)}, deleted {len(found.deleted)}, retried {len(found.retried)}, "
        f"which opened {len(opened)}; people {dict(steered)}; of {count} jobs {len(lost)} are gone"
    )
    assert lost <= openers | set(found.pushed), "no job is lost that Ruby could not see"
    assert lost - openers, "Ruby cleared what was in the list"
    assert not found.deleted & scene.done
    for key, numbers in scene.sent.items():
        assert numbers == sorted(numbers), f"the jobs of {key} overtook one another"
