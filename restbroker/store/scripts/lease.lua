#!lua flags=allow-oom
-- Takes and renews leases: for each name one holder does something, until its lease runs out.
-- A full Redis grants them too: what they are for takes little room, and losing them would lose events.
--
-- KEYS: leases
-- ARGV: holder, lease (ms), names
-- Returns: per name two numbers. n > 0: the holder's for the lease, and n - 1 times another who had lost it may have
-- acted since the first lease; and since when no one had it before, as another let it run out (epoch ms; 0: no one did)
-- | n < 0: another's, for -n ms more at most; 0
-- Sent twice: the second says the same, and the leases begin again.

-- part: clock

local leases, holder, lease_ms = KEYS[1], ARGV[1], tonumber(ARGV[2])
local now_ms = math.floor(clock_us() / 1000)

local reply = {}
for n = 3, #ARGV do
  local name = ARGV[n]
  local until_ms, late, by, lost = string.match(redis.call('HGET', leases, name) or '', '^(%d+) (%d+) (%S+) ?(%d*)$')
  -- No lease ends later than one that began now: a clock that was set back would let it last until it is there.
  local left_ms = math.min(tonumber(until_ms or 0) - now_ms, lease_ms)
  if left_ms > 0 and by ~= holder then
    reply[#reply + 1] = -left_ms
    reply[#reply + 1] = 0
  else
    late = tonumber(late or 0)
    if by ~= holder then
      -- It was renewed a lease before its end; of a clock that was set back it counts from now.
      lost = by and string.format('%.0f', math.min(tonumber(until_ms) - lease_ms, now_ms)) or '0'
    end
    redis.call('HSET', leases, name, string.format('%.0f %.0f %s %s', now_ms + lease_ms, late, holder, lost))
    reply[#reply + 1] = late + 1
    reply[#reply + 1] = tonumber(lost) or 0
  end
end
return reply
