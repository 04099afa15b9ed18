#!lua flags=allow-oom
-- Moves jobs from a queue's list into the lines of their keys, at one pace for all processes. It takes none.
--
-- KEYS: pace, paused, pause, the queue's list, its `wait`, its `keys`, its `turn` (see parts/lines.lua)
-- ARGV: the queue's name, for how many milliseconds no one else may, what the target says of its fairness (JSON), how
--       many bytes a job may have of which a key is read
-- Returns: {'PACE', ms}: another process did this just now; ask again then
--        | {'PAUSED'}: the queue or its target is
--        | {'OK', moved, jobs left in the list, jobs in lines, how many of the moved have no key of their own}; {'BAD'} if
--          the list is none, or may not be read
-- Sent twice: the second moves more, or answers PACE.

local LOOKED_AT, LOOKED_AT_BYTES = 200, 262144
local pace, paused, pause, list = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local name, pace_ms, fairness, limit_bytes = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

-- part: lines

if redis.call('SISMEMBER', paused, name) == 1 then
  return {'PAUSED'}
end
local now = redis.call('TIME')
for _, text in ipairs(redis.call('HVALS', pause)) do
  local until_us = tonumber(text)
  if not until_us or until_us == 0 or until_us > now[1] * 1000000 + now[2] then
    return {'PAUSED'}
  end
end
-- These reads also surface a wrong type before the first write.
local lines = fair_lines(fairness, limit_bytes)
local queue = lines.open(KEYS[5], KEYS[6], KEYS[7], 0)
if not redis.call('SET', pace, '1', 'NX', 'PX', pace_ms) then
  return {'PACE', math.max(1, redis.call('PTTL', pace))}
end
local raws = lines.pop(list, LOOKED_AT, LOOKED_AT_BYTES)
if not raws then
  return {'BAD'}
end
lines.append(queue, raws)
local waiting = lines.write(queue)
return {'OK', #raws, redis.call('LLEN', list), waiting, queue.without_key}
