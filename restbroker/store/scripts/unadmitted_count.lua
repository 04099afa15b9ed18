#!lua flags=no-writes
-- Goes on through the dead set, in no order, for the jobs that no token admitted, as far as the bytes allow.
--
-- KEYS: dead
-- ARGV: cursor ('0' at the beginning), how many bytes may be looked at
-- Returns: the next cursor ('0': that was all), {the queue of each}
--          At least one step is done. As with ZSCAN an entry may come twice.
-- Of such an entry restbroker's own member is the last. Only there does it count: the rest may be a stranger's text.
-- Sent twice: it only reads.

-- part: reading

local MARK, LONGEST, found = '"restbroker_unadmitted":', 1500, {}

local function queue_of(member)
  local tail = string.sub(member, -LONGEST)
  local _, last = string.find(tail, MARK, 1, true)
  if not last or string.sub(tail, -2) ~= '"}' then
    return nil
  end
  local after
  while last do
    after, last = last, select(2, string.find(tail, MARK, last + 1, true))
  end
  local is_json, value = pcall(cjson.decode, '[' .. string.sub(tail, after + 1, -2) .. ']')
  return is_json and #value == 1 and type(value[1]) == 'string' and value[1] or nil
end

-- Goes on through a sorted set, in no order, at least one step: look_at(member, score). Returns the next cursor, '0' at the
-- end.
local function walk(zset, cursor, left_bytes, look_at)
  local largest
  repeat
    local step = redis.call('ZSCAN', zset, cursor, 'COUNT', next_count(largest, left_bytes, CHUNK))
    cursor = step[1]
    for n = 1, #step[2], 2 do
      local member = step[2][n]
      left_bytes, largest = left_bytes - #member, math.max(largest or 1, #member)
      look_at(member, step[2][n + 1])
    end
  until cursor == '0' or left_bytes <= 0
  return cursor
end

local cursor = walk(KEYS[1], ARGV[1], tonumber(ARGV[2]), function(member)
  found[#found + 1] = queue_of(member)
end)
return {cursor, found}
