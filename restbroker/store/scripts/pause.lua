#!lua flags=allow-oom
-- Pauses a target for a reason, by Redis' own clock. A pause for the same reason that ends later stays as it is, but
-- for one with a note: the last word of a person counts.
--
-- KEYS: pause; with a note also the notes on targets
-- ARGV: reason, microseconds ('' = without an end); with a note also the target and the note (bytes for display)
-- Returns: a number of no meaning
-- Sent twice: the end is counted from the second.

-- part: clock

local now_us = clock_us()
local until_us = ARGV[2] == '' and 0 or now_us + tonumber(ARGV[2])
local old = redis.call('HGET', KEYS[1], ARGV[1])
local old_us = tonumber(old or '1') or 0
if KEYS[2] then
  redis.call('HSET', KEYS[2], ARGV[3], string.format('%.0f %.0f ', now_us, until_us) .. ARGV[4])
end
if KEYS[2] or (old_us ~= 0 and (until_us == 0 or until_us > old_us)) then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', until_us))
end

-- The key ends with the last of its pauses.
local last_us = 0
for _, text in ipairs(redis.call('HVALS', KEYS[1])) do
  local ends_us = tonumber(text) or 0
  if ends_us == 0 then
    return redis.call('PERSIST', KEYS[1])
  end
  last_us = math.max(last_us, ends_us)
end
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.ceil(last_us / 1000)))
