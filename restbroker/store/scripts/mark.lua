#!lua flags=allow-oom
-- Writes down, before their first byte leaves, what recovery must know of jobs in progress: 'once' is about to be sent
-- and must not run twice, so it dies after a crash; 'alone' is the only job in progress, so it may be what crashes the
-- process; 'joined' is alone no longer.
--
-- KEYS: beats, ip, sent
-- ARGV: identity, 'once' | 'alone' | 'joined', tickets...
-- Returns: 'FENCED' | per ticket 1 marked (now or before) | 0 not in progress (any more): it must not be sent
-- Sent twice: changes nothing.

local codes = {}
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return 'FENCED'
end
for n = 3, #ARGV do
  codes[n - 2] = redis.call('HEXISTS', KEYS[2], ARGV[n])
  if codes[n - 2] == 1 and ARGV[2] ~= 'joined' then
    redis.call('HSET', KEYS[3], ARGV[n], ARGV[2])
  elseif redis.call('HGET', KEYS[3], ARGV[n]) == 'alone' then
    redis.call('HDEL', KEYS[3], ARGV[n])
  end
end
return codes
