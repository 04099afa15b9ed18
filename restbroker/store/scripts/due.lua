#!lua flags=no-writes
-- Reads the due members of a sorted set, by Redis' own clock. no-writes includes allow-oom.
--
-- KEYS: zset
-- ARGV: limit, lowest score, how many to skip from there
-- Returns: {seconds, microseconds, {member, score, member, score...}}, the longest due first
-- Sent twice: it only reads. Its cost has nothing to do with how many members are below the lowest score.

local now = redis.call('TIME')
local score = string.format('%d.%06d', tonumber(now[1]), tonumber(now[2]))
return {tonumber(now[1]), tonumber(now[2]),
        redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], score, 'WITHSCORES', 'LIMIT', ARGV[3], ARGV[1])}
