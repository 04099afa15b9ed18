"""Who may do less: the Redis rights that docs/sidekiq.md names, and a producer that may push to one queue only."""

import json
import re
import shlex
from contextlib import closing
from typing import Final

import pytest

from dev.tools.pages import ROOT
from restbroker.errors import StoreRefused
from restbroker.operate.check.redis import ONLY_ASKED_HERE
from restbroker.store.client import StoreSettings, items, open_client, raw, text
from tests.support import process
from tests.support.scripted import QUEUE, Citizen
from tests.support.shared import FAST_RETRIES, TOKEN
from tests.support.wait import until

NO_RIGHTS: Final = {"ROLE", "AUTH", "HELLO", "COMMAND", "LATENCY", "MEMORY", "READONLY"}
"""Commands by their name alone: with Sentinel only, allowed to everyone, headings of tables, and an error's code."""


def acl_commands() -> list[list[str]]:
    """The page's commands, each without its `redis-cli`."""
    page = (ROOT / "docs" / "sidekiq.md").read_text("utf-8").replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in page.splitlines() if line.startswith("redis-cli ACL SETUSER")]


def test_check_and_page_agree_on_the_terminals_own_rights() -> None:
    assert {right[1:] for right in acl_commands()[1] if right.startswith("+")} == ONLY_ASKED_HERE


@pytest.mark.promise("Sidekiq: what is seen, and rights", "no right is for a command that restbroker does not give")
def test_each_command_named_on_the_page_is_given_by_restbroker() -> None:
    named = {right[1:].lower() for command in acl_commands() for right in command if right.startswith("+")}
    assert len(named) > 40
    sources = [*(ROOT / "restbroker").rglob("*.py"), *(ROOT / "restbroker").rglob("*.lua")]
    code = "\n".join(source.read_text("utf-8") for source in sources)
    given = {name.lower() for name in re.findall(r"""["']([A-Z]{2,})["']""", code)}
    assert {name for name in named if not set(name.split("|")) <= given | {"client"}} == set()


def test_each_command_given_by_restbroker_is_named_on_the_page(redis_url: str) -> None:
    named = {right[1:].split("|")[0].upper() for command in acl_commands() for right in command if right[0] == "+"}
    package = ROOT / "restbroker"
    scripts = "".join(file.read_text("utf-8") for file in package.rglob("*.lua"))
    assert set(re.findall(r"redis\.p?call\('(\w+)'", scripts)) <= named
    with closing(open_client(StoreSettings(redis_url))) as client:
        exist = {text(name).upper() for name in items(client.command("COMMAND", "LIST"))}
    modules = "".join(file.read_text("utf-8") for file in package.rglob("*.py") if "trial" not in file.parts)
    assert (set(re.findall(r"[\"']([A-Z]{3,})[\"']", modules)) & exist) - named == NO_RIGHTS


FOREIGN: Final = "default"


def attack(citizen: Citizen, *args: object) -> None:
    """Pushes an attacker's job as a Redis user with the rights that SECURITY.md names for producers."""
    # The last right is for the client of this test, which sends its name.
    rights = ["resetkeys", f"~queue:{QUEUE}", "nocommands", "+lpush", "+client|setname"]
    citizen.client.command("ACL", "SETUSER", "producer", "on", ">secret", *rights)
    fields = {"class": "AdminWorker", "jid": "evil", "queue": FOREIGN, "retry_queue": FOREIGN, "args": list(args)}
    producer = open_client(StoreSettings(citizen.redis.url.replace("redis://", "redis://producer:secret@")))
    try:
        with pytest.raises(StoreRefused, match="no permissions"):
            producer.command("LPUSH", f"queue:{FOREIGN}", b"{}")
        producer.command("LPUSH", f"queue:{QUEUE}", json.dumps(fields).encode())
    finally:
        producer.close()


def foreign(citizen: Citizen) -> list[bytes]:
    return [raw(job) for job in items(citizen.client.command("LRANGE", f"queue:{FOREIGN}", 0, -1))]


@pytest.mark.promise("Security: who can push to the queues", "to reach another queue through retry_queue")
def test_failing_job_is_retried_from_the_queue_it_was_pushed_to(citizen: Citizen) -> None:
    citizen.configure(Backoff=FAST_RETRIES)
    broker = citizen.start()
    attack(citizen, "check_account", {"user": "fails1", "host": "example.org"}, TOKEN)
    until(lambda: citizen.times_sent()["fails1"] > 2, "it is tried again and again")
    assert foreign(citizen) == []
    broker.wait_for(r"code=RetryQueueIgnored")


@pytest.mark.promise("Security: who can push to the queues", "to reach another queue through retry_queue")
@pytest.mark.nightly
def test_manual_retry_with_a_wrong_token_goes_to_the_old_queue(citizen: Citizen) -> None:
    citizen.start()
    attack(citizen, "check_account", {"user": "fails1", "host": "example.org"}, "a guess", None, "more")
    citizen.wait_until_in("dead", 1)
    where = ["--config", str(citizen.config)]
    done = process.run(["dead", "retry", "evil", "--yes", *where], directory=citizen.directory)
    assert (done.returncode, done.stderr) == (0, "1 job retried.\n")
    until(
        lambda: citizen.members("dead")[0].get("retried_at") if citizen.size("dead") else None, "it becomes dead again"
    )
    assert (foreign(citizen), citizen.times_sent()["fails1"]) == ([], 0)
