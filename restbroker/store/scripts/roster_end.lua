#!lua flags=allow-oom
-- Ends refreshes of users, if they are still this holder's.
--
-- KEYS: dirty, flights
-- ARGV: holder, then per user (up to 2,000): user, '1' if their job will come again (it failed) | '0'
-- Returns: how many ended
-- A user whose job comes again gets their mark back, so that changes until then push no job beside it.
-- Sent twice: the second ends nothing, and gives no mark back.

-- part: clock

local dirty, refreshes, holder = KEYS[1], KEYS[2], ARGV[1]
local now_ms = math.floor(clock_us() / 1000)
local users = {}
for n = 2, #ARGV, 2 do
  users[#users + 1] = ARGV[n]
end
if #users == 0 then
  return 0
end
local ended = {}
for n, refresh in ipairs(redis.call('HMGET', refreshes, unpack(users))) do
  if string.match(refresh or '', '^%d+ (.*)$') == holder then
    ended[#ended + 1] = users[n]
    if ARGV[2 * n + 1] == '1' then
      redis.call('HSETNX', dirty, users[n], string.format('%.0f %.0f %.0f 1', now_ms, now_ms, now_ms))
    end
  end
end
if #ended > 0 then
  redis.call('HDEL', refreshes, unpack(ended))
end
return #ended
