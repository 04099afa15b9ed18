#!lua flags=allow-oom
-- Moves jobs that another program had in progress to the end of a queue that is served next, each with its new bytes.
--
-- KEYS: the list of those in progress, the queue's list, queues
-- ARGV: the queue, per job its bytes, then its new bytes
-- Returns: how many were there
-- Sent twice: the second finds none.

local moved = 0
-- Wrong types surface here, before the first job moves.
redis.call('LLEN', KEYS[2])
redis.call('SADD', KEYS[3], ARGV[1])
for n = 2, #ARGV, 2 do
  if redis.call('LREM', KEYS[1], 1, ARGV[n]) == 1 then
    redis.call('RPUSH', KEYS[2], ARGV[n + 1])
    moved = moved + 1
  end
end
return moved
