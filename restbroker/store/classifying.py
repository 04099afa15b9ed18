"""Moves jobs of a queue that is served fairly into the lines of their keys, beside the fetches that do so too.

Used by brokers. Always holds: a job is in the queue's list or in a line, in exactly one of them, and jobs of one key
keep their order.
"""

from typing import Final, TypeAlias

from restbroker.job.format import PAYLOAD_LIMIT_BYTES
from restbroker.light import frozen
from restbroker.store.client import Reply, ScriptCall, integer, unexpected_reply
from restbroker.store.keys import RedisKeys
from restbroker.store.settling import places_of_keys

INTERVAL_MS: Final = 8
LONGEST_INTERVAL_MS: Final = 2000


@frozen
class ClassifyResult:
    """How many jobs were moved into lines, and how many the list and the lines have now.

    `without_key`: how many of the moved share the line of those that have no key of their own.
    """

    classified: int
    in_list: int
    in_lines: int
    without_key: int = 0


@frozen
class ClassifyRefused:
    """Nothing was moved: another process did it just now, the queue is paused, or its list cannot be read.

    `for_ms`: when to ask again; 0: at the next sign of jobs.
    """

    for_ms: int


ClassifyAnswer: TypeAlias = ClassifyResult | ClassifyRefused


def classify_call(keys: RedisKeys, target: str, queue: str, *, key_rules: str, took_ms: int) -> ScriptCall:
    """Return the call that moves jobs of a queue's list into the lines of their keys, if no process did just now.

    `took_ms`: how long the caller's last call took. Where its reply is lost, they may have been moved all the same.
    """
    pace_ms = min(LONGEST_INTERVAL_MS, max(INTERVAL_MS, 4 * took_ms))
    fixed = [keys.pace(queue), keys.paused_queues, keys.pause(target), keys.queue(queue)]
    places = [*fixed, *places_of_keys(keys, target, (queue,)), keys.hand(queue)]
    return "classify", places, [queue, pace_ms, key_rules, PAYLOAD_LIMIT_BYTES]


def read_classified(reply: Reply) -> ClassifyAnswer:
    """Return what came of it, from the reply to `classify_call`."""
    match reply:
        case [b"OK", classified, in_list, in_lines, without_key]:
            return ClassifyResult(*map(integer, (classified, in_list, in_lines, without_key)))
        case [b"PACE", for_ms]:
            return ClassifyRefused(integer(for_ms))
        case [b"PAUSED" | b"BAD"]:
            return ClassifyRefused(0)
        case other:
            raise unexpected_reply("a list of numbers", other)
