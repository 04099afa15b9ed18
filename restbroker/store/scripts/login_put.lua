#!lua flags=allow-oom
-- Ends a lock on logging a user in, with their stream, if it is still the holder's.
--
-- KEYS: logins, lease
-- ARGV: user, holder, stream ('': they were not logged in; with a blank, which no id has: this is not known)
-- Returns: 1 it is their stream now | 0 nothing changed
-- Sent twice: the second changes nothing.

local now = redis.call('TIME')
-- No other login has this number.
local number = string.format('%.0f', now[1] * 1000000 + now[2])
local state, known = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^(%a+) %d+ (.*)$')
if redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return state == 'on' and known == ARGV[3] and 1 or 0
end
redis.call('DEL', KEYS[2])
if ARGV[3] == '' then
  return 0
end
if string.find(ARGV[3], ' ', 1, true) then
  if not state or (state == 'off' and known == '') then
    redis.call('HSET', KEYS[1], ARGV[1], string.format('doubted %s ', number) .. ARGV[3])
  end
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('on %s ', number) .. ARGV[3])
return 1
