#!lua flags=allow-oom
-- Takes a lease. A full Redis grants it too: one short key each, and what drains Redis may need it.
--
-- KEYS: lease
-- ARGV: owner, ttl (ms)
-- Returns: 1 it is the owner's from now on for ttl | 0 somebody else's
-- Sent twice: the second is one more 1, and the ttl begins anew.

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
