#!lua flags=allow-oom
-- Writes what Sidekiq shows of a process, lists its queues where jobs wait, and takes one request to it.
--
-- KEYS: processes, process, its work (Sidekiq from 6.4.2 on), its work (before), signals, queues,
--       then the lists of the queues that it serves, and the same number of their lines
-- ARGV: name, ttl in seconds, info, jobs in progress, quiet, rss in KiB, round trip in µs, concurrency,
--       the names of these queues, then for each job its thread's name and what is shown of it
-- Returns: the request's name, or nil
-- Sent twice: takes the next request, if there is one; nothing else changes.

local FIXED_KEYS, FIXED = 6, 8
local queue_count = (#KEYS - FIXED_KEYS) / 2
local first_job = FIXED + queue_count + 1
local name, ttl_s = ARGV[1], ARGV[2]
-- First: of a wrong type, it surfaces before anything is written.
redis.call('SADD', KEYS[1], name)

for _, work in ipairs({KEYS[3], KEYS[4]}) do
  redis.call('UNLINK', work)
  for at = first_job, #ARGV, 2 do
    redis.call('HSET', work, ARGV[at], ARGV[at + 1])
  end
  redis.call('EXPIRE', work, ttl_s)
end

-- A producer's bare LPUSH does not put the queue on the list, and Sidekiq Web shows only what is there.
for n = 1, queue_count do
  if redis.call('EXISTS', KEYS[FIXED_KEYS + n], KEYS[FIXED_KEYS + queue_count + n]) > 0 then
    redis.pcall('SADD', KEYS[6], ARGV[FIXED + n])
  end
end

local now = redis.call('TIME')
redis.call('HSET', KEYS[2], 'info', ARGV[3], 'busy', ARGV[4], 'beat', string.format('%d.%06d', now[1], now[2]),
  'quiet', ARGV[5], 'rss', ARGV[6], 'rtt_us', ARGV[7], 'concurrency', ARGV[8])
redis.call('EXPIRE', KEYS[2], ttl_s)
return redis.call('RPOP', KEYS[5])
