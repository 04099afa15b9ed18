#!lua flags=allow-oom
-- Moves jobs from a paused queue's lines to its list, where they are taken next: for versions that know no lines. Jobs of
-- one key keep their order.
--
-- KEYS: paused, the queue's list, its `wait`, its `keys`, its `turn` (see parts/lines.lua)
-- ARGV: the queue's name, how many at most
-- Returns: {moved, jobs left in lines} | {-1, 0}: the queue is not paused
-- Sent twice: the second moves more.

local MAX_BYTES = 262144
local list, wait, keys, turn = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local most, moved, bytes, looks = tonumber(ARGV[2]), 0, 0, 0
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  return {-1, 0}
end
-- These reads also surface a wrong type before the first write.
redis.call('LLEN', list)
redis.call('HLEN', wait)
redis.call('HLEN', keys)
while moved < most and bytes < MAX_BYTES and looks < 2 * most do
  local key = redis.call('ZREVRANGE', turn, 0, 0)[1]
  if not key then
    break
  end
  local head, after = string.match(redis.call('HGET', keys, key) or '', '^(%d+) (%d+)$')
  head, after = tonumber(head or 0), tonumber(after or 0)
  -- The last first, so that the first is taken first.
  while head < after and moved < most and bytes < MAX_BYTES and looks < 2 * most do
    after, looks = after - 1, looks + 1
    local field = string.format('%.0f', after) .. ':' .. key
    local raw = redis.call('HGET', wait, field)
    if raw then
      redis.call('RPUSH', list, raw)
      redis.call('HDEL', wait, field)
      moved, bytes = moved + 1, bytes + #raw
    end
  end
  if head < after then
    redis.call('HSET', keys, key, string.format('%.0f %.0f', head, after))
  else
    looks = looks + 1
    redis.call('HDEL', keys, key)
    redis.call('ZREM', turn, key)
  end
end
if redis.call('ZCARD', turn) == 0 then
  redis.call('HDEL', keys, '\0v')
end
return {moved, redis.call('HLEN', wait)}
