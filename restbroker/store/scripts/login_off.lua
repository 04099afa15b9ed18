#!lua flags=allow-oom
-- Notes that a job logs a user off, unless another stream is his by now.
--
-- KEYS: logins
-- ARGV: user, stream
-- Returns: 1 noted (now or before) | 0 he has another stream
-- The stream stays beside it: who could not be logged off at once is asked for it again.
-- Sent twice: the second changes nothing but the time.

local known = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^%a+ %d+ (.*)$')
if known and known ~= ARGV[2] then
  return 0
end
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], string.format('off %s ', now[1]) .. ARGV[2])
return 1
