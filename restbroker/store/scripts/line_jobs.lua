#!lua flags=no-writes
-- Reads jobs of a queue's lines, as far as the bytes allow.
--
-- KEYS: the queue's `wait` (see parts/lines.lua)
-- ARGV: how many bytes, then `number:key` of each job
-- Returns: the jobs in that order, false for one that is not there. Fewer once they have the bytes together, and at least
--          one. In the place of a job that alone has more bytes stands ''.
-- Sent twice: it only reads.

local CHUNK = 50
local wait, most_bytes = KEYS[1], tonumber(ARGV[1])
local left_bytes, found, largest = most_bytes, {}, nil
while #found < #ARGV - 1 and left_bytes > 0 do
  -- The first alone: no one knows how large they are.
  local chunk = largest and math.max(1, math.min(CHUNK, math.floor(left_bytes / largest))) or 1
  local from = #found + 2
  for _, raw in ipairs(redis.call('HMGET', wait, unpack(ARGV, from, math.min(#ARGV, from + chunk - 1)))) do
    local size = raw and #raw or 0
    if size > left_bytes and #found > 0 then
      return found
    end
    found[#found + 1] = size > most_bytes and '' or raw
    left_bytes, largest = left_bytes - size, math.max(largest or 1, size)
  end
end
return found
