#!lua flags=allow-oom
-- Writes down, before their first byte leaves, which jobs must not run twice: they die after a crash.
--
-- KEYS: beats, ip, sent
-- ARGV: identity, tickets...
-- Returns: 'FENCED' | per ticket 1 marked (now or before) | 0 not in progress (any more): it must not be sent
-- Sent twice: changes nothing.

local codes = {}
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return 'FENCED'
end
for n = 2, #ARGV do
  codes[n - 1] = redis.call('HEXISTS', KEYS[2], ARGV[n])
  if codes[n - 1] == 1 then
    redis.call('HSET', KEYS[3], ARGV[n], 'once')
  end
end
return codes
