#!lua flags=no-writes
-- Reads copies of dead jobs, the newest first, as far as the bytes allow.
--
-- KEYS: parked
-- ARGV: the entry to begin with ('+': the newest, '(ID': behind it), how many at most, how many bytes
-- Returns: {ID, {field, value...}}...; fewer once they have the bytes together, and at least one unless there is none
-- Sent twice: it only reads.

local CHUNK = 20
local from, limit, left_bytes, found, largest = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), {}, nil
while #found < limit and left_bytes > 0 do
  -- The first alone: no one knows how large they are.
  local most = math.min(CHUNK, limit - #found)
  local count = largest and math.max(1, math.min(most, math.floor(left_bytes / largest))) or 1
  local part = redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', count)
  for _, entry in ipairs(part) do
    -- The payload is its last field.
    local size = #entry[2][#entry[2]]
    found[#found + 1], left_bytes, largest = entry, left_bytes - size, math.max(largest or 1, size)
    from = '(' .. entry[1]
  end
  if #part < count then
    break
  end
end
return found
