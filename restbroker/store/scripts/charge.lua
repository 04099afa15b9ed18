#!lua flags=allow-oom
-- Takes one token of a target's rate, for a job that was taken in time and starts late.
--
-- KEYS: rate
-- ARGV: microseconds between two jobs, how many may follow each other at once
-- Returns: 0 taken | milliseconds (at most 1000) until there may be one, nothing was taken
-- The same arithmetic as in fetch. Sent twice: two tokens.

-- part: clock

local emission_us, burst, MAX_MS = tonumber(ARGV[1]), tonumber(ARGV[2]), 1000
local now_us = clock_us()
local furthest_us = now_us + burst * emission_us
local full_us = math.max(now_us, math.min(tonumber(redis.call('GET', KEYS[1])) or now_us, furthest_us))
local wait_us = math.max(0, full_us + emission_us - furthest_us)
if wait_us == 0 then
  full_us = full_us + emission_us
end
-- Also without a token: what a faster clock wrote must come back.
redis.call('SET', KEYS[1], string.format('%.0f', full_us), 'PXAT', math.ceil(full_us / 1000))
return math.min(math.ceil(wait_us / 1000), MAX_MS)
