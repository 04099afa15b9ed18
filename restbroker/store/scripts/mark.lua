#!lua flags=allow-oom
-- Writes down that jobs in hand are about to be sent, before their first byte leaves: for commands that must not run
-- twice. After a crash a marked job is parked, an unmarked one goes back to its queue.
--
-- KEYS: beats, ip, sent
-- ARGV: identity, tickets...
-- Returns: 'FENCED' | per ticket 1 marked (now or before) | 0 not in hand (any more): it must not be sent
-- Sent twice: changes nothing.

local codes = {}
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return 'FENCED'
end
-- A wrong type surfaces here, before the first write.
redis.call('HLEN', KEYS[3])
for n = 2, #ARGV do
  codes[n - 1] = redis.call('HEXISTS', KEYS[2], ARGV[n])
  if codes[n - 1] == 1 then
    redis.call('HSET', KEYS[3], ARGV[n], 1)
  end
end
return codes
