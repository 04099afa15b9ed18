#!lua flags=no-writes
-- Goes on through a sorted set, in no order, and reads the members that have a word, as far as the bytes allow.
--
-- KEYS: zset
-- ARGV: cursor ('0' at the beginning), word, how many bytes may be looked at
-- Returns: the next cursor ('0': that was all), {member, score, member, score...}, how many were looked at, and there are
--          At least one step is done. As with ZSCAN a member may come twice, and none is left out that stays.
-- Sent twice: it only reads. MATCH would look at each byte a hundred times as long, and count no bytes.

-- part: reading

local word, found, looked_at = ARGV[2], {}, 0
local cursor = walk(KEYS[1], ARGV[1], tonumber(ARGV[3]), function(member, score)
  looked_at = looked_at + 1
  if string.find(member, word, 1, true) then
    found[#found + 1], found[#found + 2] = member, score
  end
end)
return {cursor, found, looked_at, redis.call('ZCARD', KEYS[1])}
