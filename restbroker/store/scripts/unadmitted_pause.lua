#!lua flags=allow-oom
-- Notes how many dead jobs of each queue no token admitted, and pauses those with too many, for a while; ends such a
-- pause where there are fewer. A person's pause stays as it is.
--
-- KEYS: unadmitted, paused, notes on queues
-- ARGV: how many are too many, microseconds, note (bytes for display), then per queue: name, how many were counted, how
--       many were noted when the count began
-- Returns: the queues that are paused from now on
-- Sent twice: what died during the count is added twice, until it is counted anew.

-- part: clock

local most, lasts_us, words = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local now_us, begun = clock_us(), {}
for i = 4, #ARGV, 3 do
  local queue = ARGV[i]
  local noted = tonumber(redis.call('HGET', KEYS[1], queue) or '0')
  local count = ARGV[i + 1] + math.max(0, noted - ARGV[i + 2])
  redis.call('HSET', KEYS[1], queue, count)
  local is_paused, note = redis.call('SISMEMBER', KEYS[2], queue) == 1, redis.call('HGET', KEYS[3], queue) or ''
  local is_own = is_paused and string.sub(note, -#words) == words
  if is_own or count >= most and not is_paused then
    local since = is_own and string.match(note, '^%d+') or string.format('%.0f', now_us)
    -- One that is over ends with the next look at what is due.
    local until_us = string.format('%.0f', count >= most and now_us + lasts_us or now_us)
    redis.call('HSET', KEYS[3], queue, since .. ' ' .. until_us .. ' ' .. words)
    begun[#begun + 1] = redis.call('SADD', KEYS[2], queue) == 1 and queue or nil
  end
end
return begun
