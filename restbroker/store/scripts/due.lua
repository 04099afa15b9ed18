#!lua flags=no-writes
-- Reads the due members of a sorted set, by Redis' own clock. no-writes includes allow-oom.
--
-- KEYS: zset
-- ARGV: limit, how many to skip
-- Returns: {seconds, microseconds, {member, score, member, score...}}, the longest due first
-- Sent twice: it only reads.

local now = redis.call('TIME')
local score = string.format('%d.%06d', tonumber(now[1]), tonumber(now[2]))
return {tonumber(now[1]), tonumber(now[2]),
        redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', score, 'WITHSCORES', 'LIMIT', ARGV[2], ARGV[1])}
