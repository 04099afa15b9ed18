#!lua flags=allow-oom
-- One does the work for all: takes the lock, unless the last result still counts or another has it.
-- A full Redis grants it too: whether a target works again must be found out, or nothing drains Redis.
--
-- KEYS: lease, told
-- ARGV: owner, ttl (ms)
-- Returns: {'TOLD', text, age in ms by Redis' clock} | {'YOURS'} for ttl | {'BUSY'}
-- Sent twice: the second says YOURS too, and the ttl begins again.

-- part: clock

local result = redis.call('HMGET', KEYS[2], 'text', 'at_us')
local at_us = tonumber(result[2])
-- What has no time was written by others, and would count for ever.
if result[1] and at_us then
  return {'TOLD', result[1], math.max(0, (clock_us() - at_us) / 1000)}
end
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return {'BUSY'}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'YOURS'}
