"""Where jobs are that are neither done nor dead, counted in one step: one that moves meanwhile would be missed.

Used by what the tests with real processes wait for.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from restbroker.store.client import Client, integer, items, raw

IN_PROGRESS: Final = "in progress"
_LOOK: Final = """
local prefix, found, in_progress = ARGV[1], {}, 0
local queues = {}
for place = 2, #ARGV do
  queues[#queues + 1] = ARGV[place]
end
if #queues == 0 then
  queues = redis.call('SMEMBERS', prefix .. 'queues')
end
local function add(name, count)
  found[#found + 1], found[#found + 2] = name, count
end
for _, queue in ipairs(queues) do
  local in_lines = redis.call('GET', prefix .. 'restbroker:line:' .. queue) or 0
  add(queue, redis.call('LLEN', prefix .. 'queue:' .. queue) + in_lines)
end
for _, zset in ipairs({'retry', 'schedule'}) do
  add(zset, redis.call('ZCARD', prefix .. zset))
end
for _, key in ipairs(redis.call('KEYS', prefix .. 'restbroker:ip:*')) do
  for _, ticket in ipairs(redis.call('HKEYS', key)) do
    in_progress = in_progress + ((ticket == 'last' or ticket == 'hwm') and 0 or 1)
  end
end
add('in progress', in_progress)
return found
"""


def count(client: Client, queues: Sequence[str] = ()) -> Counter[str]:
    """How many jobs are in each of these queues (default: in all), `retry`, `schedule` and `IN_PROGRESS`.

    Nothing that is empty; what Ruby is doing is nowhere in Redis.
    """
    namespace = client.keys.namespace
    found = items(client.command("EVAL", _LOOK, 0, f"{namespace}:" if namespace else "", *queues))
    counts = zip(found[::2], found[1::2], strict=True)
    return +Counter({raw(name).decode(): integer(count) for name, count in counts})
