"""Fills queues by the million: Redis makes the jobs itself. The scenarios with long queues use it."""

from collections.abc import Mapping
from typing import Final

import attrs
import redis

from benchmarks.peers import ARGUMENTS, COMMAND, TOKEN, payload

_JID: Final = "0" * 24
_STEP: Final = 50_000
_FILL: Final = """
local head, tail, first, count = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
for number = first, first + count - 1 do
  redis.call('LPUSH', KEYS[1], head .. redis.sha1hex(number):sub(1, 24) .. tail)
end
"""


@attrs.define
class Filler:
    """No two of its jobs have the same jid; all are random, as clients make them: long numbers are read otherwise."""

    store: "redis.Redis"
    made: int = 0

    def fill(
        self, count: int, queue: str = "rest", command: str = COMMAND, arguments: Mapping[str, object] = ARGUMENTS
    ) -> None:
        """Puts so many jobs into a queue."""
        head, _, tail = payload((command, arguments, TOKEN), jid=_JID, queue=queue).partition(_JID.encode())
        script = self.store.register_script(_FILL)
        self.store.sadd("queues", queue)
        for start in range(0, count, _STEP):
            number = min(_STEP, count - start)
            script([f"queue:{queue}"], [head, tail, self.made, number])
            self.made += number
