#!lua flags=allow-oom
-- Writes what Sidekiq shows of a process, lists its queues where jobs wait, and takes one request to it. Whichever
-- process comes first in a minute also notes the oldest job of each queue on the list: where it stays, nobody takes any.
--
-- KEYS: processes, process, its work (Sidekiq from 6.4.2 on), its work (before), signals, queues, oldest jobs,
--       then the lists of the queues that it serves, and the same number of their lines
-- ARGV: name, ttl in seconds, info, jobs in progress, quiet, rss in KiB, round trip in µs, concurrency,
--       the beginning of the key of a queue's list, the names of its queues,
--       then for each job its thread's name and what is shown of it
-- Returns: {the request's name, or nil; how many jobs wait in each of its queues, in the list and in the lines (nil: its
--         key is no list)}. What lies in a hand is not counted.
-- Sent twice: takes the next request, if there is one; nothing else changes.

local FIXED_KEYS, FIXED = 7, 9
-- Where more queues are listed, none is noted: it would take Redis too long.
local EVERY_S, KEPT_S, MOST_QUEUES = 60, 180, 5000
-- Lua passes on 8,000 in one call at most.
local AT_ONCE = 1000
local queue_count = (#KEYS - FIXED_KEYS) / 2
local lines = FIXED_KEYS + queue_count
local first_job = FIXED + queue_count + 1
local name, ttl_s = ARGV[1], ARGV[2]

local function note_oldest(now_s)
  local left_ms = redis.call('PTTL', KEYS[7])
  if left_ms > (KEPT_S - EVERY_S) * 1000 then
    return
  end
  local count = redis.pcall('SCARD', KEYS[6])
  local is_due = type(count) == 'number' and count > 0 and count <= MOST_QUEUES
  local known = is_due and redis.pcall('HGETALL', KEYS[7]) or {err = true}
  if known.err then
    return
  end
  local before = {}
  for at = 1, #known, 2 do
    before[known[at]] = known[at + 1]
  end
  -- Where there was none when it was noted last, it may have been the oldest ever since.
  local last_s = left_ms > 0 and now_s - KEPT_S + math.ceil(left_ms / 1000) or now_s
  redis.call('UNLINK', KEYS[7])
  -- No queue has this name: it says that all were looked at, also where none has a job.
  redis.call('HSET', KEYS[7], '', string.rep('0', 41) .. now_s)
  for _, queue in ipairs(redis.call('SMEMBERS', KEYS[6])) do
    local job = redis.pcall('LINDEX', ARGV[9] .. queue, -1)
    if type(job) == 'string' then
      -- Of both ends, since a job may be large.
      local was, mark = before[queue], redis.sha1hex(job:sub(1, 256) .. job:sub(-256))
      local since_s = not was and last_s or was:sub(1, 40) == mark and was:sub(42) or now_s
      redis.call('HSET', KEYS[7], queue, mark .. ' ' .. since_s)
    end
  end
  redis.call('EXPIRE', KEYS[7], KEPT_S)
end

-- First: of a wrong type, it surfaces before anything is written.
redis.call('SADD', KEYS[1], name)

redis.call('UNLINK', KEYS[3], KEYS[4])
if #ARGV >= first_job then
  for _, work in ipairs({KEYS[3], KEYS[4]}) do
    for at = first_job, #ARGV, 2 do
      redis.call('HSET', work, ARGV[at], ARGV[at + 1])
    end
    redis.call('EXPIRE', work, ttl_s)
  end
end

-- A producer's bare LPUSH does not put the queue on the list, and Sidekiq Web shows only what is there.
local lengths = {}
for first = 1, queue_count, AT_ONCE do
  local last = math.min(first + AT_ONCE - 1, queue_count)
  local has_lines = redis.call('EXISTS', unpack(KEYS, lines + first, lines + last)) > 0
  for n = first, last do
    local in_list = redis.pcall('LLEN', KEYS[FIXED_KEYS + n])
    local in_lines = has_lines and tonumber(redis.pcall('GET', KEYS[lines + n])) or 0
    lengths[n] = type(in_list) == 'number' and in_list + in_lines
    if lengths[n] ~= 0 then
      redis.pcall('SADD', KEYS[6], ARGV[FIXED + n])
    end
  end
end

local now = redis.call('TIME')
note_oldest(tonumber(now[1]))
redis.call('HSET', KEYS[2], 'info', ARGV[3], 'busy', ARGV[4], 'beat', string.format('%d.%06d', now[1], now[2]),
  'quiet', ARGV[5], 'rss', ARGV[6], 'rtt_us', ARGV[7], 'concurrency', ARGV[8])
redis.call('EXPIRE', KEYS[2], ttl_s)
return {redis.call('RPOP', KEYS[5]), lengths}
