-- A job is too large beyond its limit, unless restbroker stored it: then it was within the limit before, and grew by its
-- history (job.py has the same rule).
local STORED, STORED_TIMES = '"restbroker_', 4

local function is_too_large(raw, limit_bytes)
  return #raw > limit_bytes and (#raw > STORED_TIMES * limit_bytes or not string.find(raw, STORED, 1, true))
end
