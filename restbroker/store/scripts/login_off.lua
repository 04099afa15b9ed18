#!lua flags=allow-oom
-- The lock on ending a user's login, noted before the server is asked: no matter what becomes of that, no one takes the
-- stream for one that lives, and the reader of their events does not take its end for a fault.
--
-- KEYS: logins, lease of the server
-- ARGV: user, 'off': a job logs them off | 'doubted': their session may have been ended, holder, lease (ms)
-- Returns: {'YOURS', stream}: log it off, then end (if that was done) and put | {'BUSY', ms}: another adds or
-- removes a stream | {'OFF'}: they are off | {'NONE'}: no stream of them is known
-- Who is off stays so when their session is doubted. The number of the login stays with it.
-- Sent twice: the second says the same, and the lease begins again.

local state, number, stream = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^(%a+) (%d+) (.*)$')
if state ~= 'on' and state ~= 'off' and state ~= 'doubted' then
  return {'NONE'}
end
if stream == '' then
  return {'OFF'}
end
-- What has a blank stands for a login of which no one knows: only another login gives its stream.
if ARGV[2] == 'off' and string.find(stream, ' ', 1, true) then
  return {'NONE'}
end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[3] then
  return {'BUSY', math.max(1, redis.call('PTTL', KEYS[2]))}
end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
if ARGV[2] == 'off' or state ~= 'off' then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%s %s ', ARGV[2], number) .. stream)
end
return {'YOURS', stream}
