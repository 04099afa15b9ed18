#!lua flags=allow-oom
-- One logs a user in for all: gives the stream that is known, unless the caller knows that one to be gone, or the lock
-- on the server: its plugin cannot add or remove two streams at once.
-- A full Redis grants it too: the jobs that drain it may need a login.
--
-- KEYS: logins, lease of the server
-- ARGV: user, stream that is gone (or ''), '1' if who was logged off stays so | '0', holder, lease (ms)
-- Returns: {'ON', stream} | {'OFF'}, where they stay so | {'ASKS', claim, for how long (s)}: the name asks, and has a
-- connection by that | {'YOURS', stream}: log them in, then put; this stream ('': none) was to be ended, and may still
-- be what a login gives | {'BUSY', ms}: another adds or removes a stream
-- Sent twice: the second says the same, and the lease begins again.

local state, since, stream = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^(%a+) (%d+) (.*)$')
if state == 'on' and stream ~= ARGV[2] then
  return {'ON', stream}
end
if state == 'off' and ARGV[3] == '1' then
  return {'OFF'}
end
if state == 'asks' then
  return {'ASKS', stream, math.max(0, redis.call('TIME')[1] - since)}
end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[4] then
  return {'BUSY', math.max(1, redis.call('PTTL', KEYS[2]))}
end
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5])
return {'YOURS', (state == 'off' or state == 'doubted') and stream or ''}
