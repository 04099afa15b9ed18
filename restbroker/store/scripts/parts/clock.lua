-- Redis' own time, in microseconds since 1970.
local function clock_us()
  local now = redis.call('TIME')
  return now[1] * 1000000 + now[2]
end
