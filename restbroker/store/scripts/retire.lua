#!lua flags=allow-oom
-- Removes an identity that has nothing in progress: the last step of a clean stop, and of a recovery.
--
-- KEYS: beats, dying, ip, sent, info, inflight
-- ARGV: identity
-- Returns: 1 gone (now or before) | 0 jobs are in progress, nothing was changed
-- `last` and `hwm` are no jobs. Sent twice: changes nothing.

local id = ARGV[1]
local jobs = redis.call('HLEN', KEYS[3]) - redis.call('HEXISTS', KEYS[3], 'last')
  - redis.call('HEXISTS', KEYS[3], 'hwm')
if jobs > 0 then
  return 0
end
redis.call('HDEL', KEYS[1], id)
redis.call('HDEL', KEYS[2], id)
redis.call('DEL', KEYS[3], KEYS[4], KEYS[5])
redis.pcall('HDEL', KEYS[6], id)
return 1
