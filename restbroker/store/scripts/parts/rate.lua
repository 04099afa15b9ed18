-- The rate (GCRA) is the time at which the bucket is full again, forgotten once it is.
local function write_rate(key, full_us)
  redis.call('SET', key, string.format('%.0f', full_us), 'PXAT', math.ceil(full_us / 1000))
end

-- How many tokens there are, the time at which there will be all of them, and how long it is until the next one. A time
-- further ahead than an empty bucket explains was written by a faster clock (another server's): it is brought back, or
-- nothing would move for long.
local function tokens(key, now_us, emission_us, burst)
  local full_us, furthest_us = tonumber(redis.call('GET', key)) or now_us, now_us + burst * emission_us
  if full_us > furthest_us then
    full_us = furthest_us
    write_rate(key, full_us)
  end
  full_us = math.max(full_us, now_us)
  return math.floor((furthest_us - full_us) / emission_us), full_us, full_us + emission_us - furthest_us
end
