#!lua flags=no-writes
-- Goes on through a sorted set, in no order, and reads the members that have a word, as far as the bytes allow.
--
-- KEYS: zset
-- ARGV: cursor ('0' at the beginning), word, how many bytes may be looked at
-- Returns: the next cursor ('0': that was all), {member, score, member, score...}
--          At least one step is done. As with ZSCAN a member may come twice, and none is left out that stays.
-- Sent twice: it only reads. MATCH would look at each byte a hundred times as long, and count no bytes.

local CHUNK = 100
local cursor, word, left_bytes, found, largest = ARGV[1], ARGV[2], tonumber(ARGV[3]), {}, nil
repeat
  -- The first alone: no one knows how large they are.
  local count = largest and math.max(1, math.min(CHUNK, math.floor(left_bytes / largest))) or 1
  local step = redis.call('ZSCAN', KEYS[1], cursor, 'COUNT', count)
  local members = step[2]
  cursor = step[1]
  for n = 1, #members, 2 do
    local member = members[n]
    left_bytes, largest = left_bytes - #member, math.max(largest or 1, #member)
    if string.find(member, word, 1, true) then
      found[#found + 1], found[#found + 2] = member, members[n + 1]
    end
  end
until cursor == '0' or left_bytes <= 0
return {cursor, found}
