#!lua flags=allow-oom
-- Takes one token of a target's rate, for a job that was taken in time and starts late.
--
-- KEYS: rate
-- ARGV: microseconds between two jobs, how many may follow each other at once
-- Returns: 0 taken | milliseconds (at most 1000) until there may be one, nothing was taken
-- Sent twice: two tokens.

-- part: clock

-- part: rate

local emission_us, MAX_MS = tonumber(ARGV[1]), 1000
local count, full_us, first_us = tokens(KEYS[1], clock_us(), emission_us, tonumber(ARGV[2]))
if count > 0 then
  write_rate(KEYS[1], full_us + emission_us)
  return 0
end
return math.min(math.ceil(first_us / 1000), MAX_MS)
