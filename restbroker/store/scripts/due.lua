#!lua flags=no-writes
-- Reads the due members of a sorted set, by Redis' own clock. no-writes includes allow-oom.
--
-- KEYS: zset
-- ARGV: limit, lowest score, how many to skip from there, how many bytes
-- Returns: {seconds, microseconds, {member, score, member, score...}, more}, the longest due first; at least one, if any
--          is due. more: 1 if there may be others.
-- Sent twice: it only reads. Its cost has nothing to do with how many members are below the lowest score.

local now = redis.call('TIME')
local score = string.format('%d.%06d', tonumber(now[1]), tonumber(now[2]))
local CHUNK, limit, skip, bytes = 50, tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
local found, taken, largest, more = {}, 0, nil, 1
while taken < limit and bytes > 0 do
  -- The first alone: no one knows how large they are.
  local count = largest and math.max(1, math.min(CHUNK, limit - taken, math.floor(bytes / largest))) or 1
  local part = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], score, 'WITHSCORES', 'LIMIT', skip + taken, count)
  for n = 1, #part, 2 do
    if #part[n] > bytes and taken > 0 then
      return {tonumber(now[1]), tonumber(now[2]), found, 1}
    end
    found[#found + 1], found[#found + 2] = part[n], part[n + 1]
    bytes, taken, largest = bytes - #part[n], taken + 1, math.max(largest or 1, #part[n])
  end
  if #part < 2 * count then
    more = 0
    break
  end
end
return {tonumber(now[1]), tonumber(now[2]), found, more}
