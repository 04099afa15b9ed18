#!lua flags=allow-oom
-- Pauses a queue for every Sidekiq process that keeps Sidekiq Pro's set, and notes until when, by Redis' own clock.
--
-- KEYS: paused, notes on queues
-- ARGV: queue, microseconds ('' = without an end), note (bytes for display)
-- Returns: 1 paused, 0 it was paused already (the new note and end count)
-- Sent twice: the end is counted from the second.

-- part: clock

local now_us = clock_us()
local until_us = ARGV[2] == '' and 0 or now_us + tonumber(ARGV[2])
-- First: without the queue in the set, a note counts for nothing; without a note, a pause would have no end.
redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f %.0f ', now_us, until_us) .. ARGV[3])
return redis.call('SADD', KEYS[1], ARGV[1])
