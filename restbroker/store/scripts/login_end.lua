#!lua flags=allow-oom
-- Forgets what is noted of a user: a stream that is over, or the claim of a question that is.
--
-- KEYS: logins
-- ARGV: user, 'on' | 'asks', the stream or the claim, another claim
-- Returns: 1 nothing of it is noted any more | 0 something else is
-- Who was logged off by a job stays so. Another claim by then gets the last argument's name: who reads has to look
-- again, as what ended may have ended its.
-- Sent twice: the second does not find it, but for a claim, which gets the same name.

local state, since, noted = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^(%a+) (%d+) (.*)$')
if state and (state == 'asks') ~= (ARGV[2] == 'asks') then
  return 0
end
if not state or noted == '' then
  return 1
end
if noted ~= ARGV[3] then
  if state == 'asks' then
    redis.call('HSET', KEYS[1], ARGV[1], string.format('asks %s ', since) .. ARGV[4])
  end
  return 0
end
if state == 'off' then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('off %s ', since))
else
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return 1
