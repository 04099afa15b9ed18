#!lua flags=allow-oom
-- Ends leases: of the names that are still the holder's. Of another's it is counted that they were disturbed.
--
-- KEYS: leases
-- ARGV: holder, names
-- Returns: how many ended
-- Sent twice: the second ends nothing, and counts the same again, which costs its holder a check.

local leases, holder = KEYS[1], ARGV[1]
local ended = 0
for n = 2, #ARGV do
  local name = ARGV[n]
  local until_ms, late, by, lost = string.match(redis.call('HGET', leases, name) or '', '^(%d+) (%d+) (%S+)(.*)$')
  if by == holder then
    redis.call('HDEL', leases, name)
    ended = ended + 1
  elseif by then
    redis.call('HSET', leases, name, string.format('%s %.0f ', until_ms, late + 1) .. by .. lost)
  end
end
return ended
