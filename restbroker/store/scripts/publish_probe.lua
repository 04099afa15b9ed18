#!lua flags=allow-oom
-- Ends a lock with its result, which counts for ttl. Only its owner may: a late result is older than what others found.
--
-- KEYS: lease, told
-- ARGV: owner, ttl (ms), text
-- Returns: 1 written (now or before) | 0 the lock was not the owner's any more
-- Sent twice: the second changes nothing.

-- part: clock

local by = redis.call('HGET', KEYS[2], 'by')
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return by == ARGV[1] and 1 or 0
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[2], 'text', ARGV[3], 'by', ARGV[1], 'at_us', string.format('%.0f', clock_us()))
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
