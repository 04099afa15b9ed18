#!lua flags=allow-oom
-- Lets a lease last longer. Never takes one: what ran out may have been somebody else's meanwhile.
--
-- KEYS: lease
-- ARGV: owner, ttl (ms)
-- Returns: 1 it is the owner's for ttl more | 0 not the owner's (any more)
-- Sent twice: changes nothing but the ttl's beginning.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
