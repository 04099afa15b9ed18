#!lua flags=allow-oom
-- Ends refreshes of users, if they are still this holder's.
--
-- KEYS: dirty, flights
-- ARGV: holder, then per user: user, '1' if his job will come again (it failed) | '0'
-- Returns: how many ended
-- Whose job comes again gets his mark back, so that changes until then push no job beside it.
-- Sent twice: the second ends nothing, and gives no mark back.

local dirty, flights, holder = KEYS[1], KEYS[2], ARGV[1]
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local ended = 0
for n = 2, #ARGV, 2 do
  local user, again = ARGV[n], ARGV[n + 1]
  if string.match(redis.call('HGET', flights, user) or '', '^%d+ (.*)$') == holder then
    redis.call('HDEL', flights, user)
    if again == '1' then
      redis.call('HSETNX', dirty, user, string.format('%.0f %.0f %.0f 1', now_ms, now_ms, now_ms))
    end
    ended = ended + 1
  end
end
return ended
