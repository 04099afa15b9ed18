-- A lock or claim carries a moment behind its holder, in microseconds of Redis' clock: a lock when its job was last pushed
-- or settled, a claim when its job is tried again, if it is. Needs `clock`.

-- Returns the holder, and the moment if there is one.
local function holder_of(value)
  local holder, moment = string.match(type(value) == 'string' and value or '', '^(.*) (%d+)$')
  return holder or value, tonumber(moment)
end

local function with_moment(holder, later_ms)
  return holder .. string.format(' %.0f', clock_us() + later_ms * 1000)
end

-- Whether so much time has passed that the job may have been deleted by who knows nothing of locks.
local function is_stale(moment)
  return moment and math.abs(clock_us() - moment) > 60000000
end
