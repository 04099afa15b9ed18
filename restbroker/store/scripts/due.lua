#!lua flags=no-writes
-- Reads the due members of a sorted set, by Redis' own clock. no-writes includes allow-oom.
--
-- KEYS: zset
-- ARGV: limit, lowest score, how many to skip from there, how many bytes
-- Returns: {seconds, microseconds, {member, score, member, score...}, more}, the longest due first; at least one, if any
--          is due. more: 1 if there may be others.
-- Sent twice: it only reads. Its cost has nothing to do with how many members are below the lowest score.

-- part: reading

local now = redis.call('TIME')
local score = string.format('%d.%06d', tonumber(now[1]), tonumber(now[2]))
local found, skip = {}, tonumber(ARGV[3])

local function read(taken, count)
  return redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], score, 'WITHSCORES', 'LIMIT', skip + taken, count)
end

local is_end = fill(found, tonumber(ARGV[1]), tonumber(ARGV[4]), 2, read)
return {tonumber(now[1]), tonumber(now[2]), found, is_end and 0 or 1}
