#!lua flags=allow-oom
-- Forgets what is noted of a user: a stream that is over, or claims of questions that are.
--
-- KEYS: logins, lease of the server, streams of the server
-- ARGV: user, 'on' | 'asks', the stream or the claims
-- Returns: 1 nothing of it is noted any more | 0 something else is
-- Who was logged off by a job stays so. Other claims stay.
-- Sent twice: the second does not find it.

local state, since, noted = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^(%a+) (%d+) (.*)$')
if state and (state == 'asks') ~= (ARGV[2] == 'asks') then
  return 0
end
if not state or noted == '' then
  return 1
end
if state == 'asks' then
  local left = {}
  for claim in string.gmatch(noted, '%S+') do
    if not string.find(' ' .. ARGV[3] .. ' ', ' ' .. claim .. ' ', 1, true) then
      left[#left + 1] = claim
    end
  end
  noted = table.concat(left, ' ')
elseif noted == ARGV[3] then
  redis.call('HDEL', KEYS[3], noted)
  noted = ''
else
  return 0
end
if noted ~= '' or state == 'off' then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%s %s ', state, since) .. noted)
else
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return noted == '' and 1 or 0
