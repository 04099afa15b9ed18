#!lua flags=allow-oom
-- Takes jobs out of a queue's list, or that of one of its keys, wherever they stand, as a person asked for, each for
-- itself, into the dead set or nowhere. The others keep their order.
--
-- KEYS: the list, the queue's `turn` and `line`, its target's `held` (see parts/keys.lua), dead, queues, parked, then the
--       lists of answers
-- ARGV: '' for the queue's list, '=' and the key for that of a key, how many jobs were pushed since the moment to which
--       ranks refer (as `waiting` told), a text that no job is, then per job: rank, its bytes, where to ('zd' dead | 'x'
--       nowhere: deleted), new bytes and score (for 'zd'), number of answers
--         and per answer: list (index from 1 among the lists), queue name ('' = a key, not a queue), ttl in seconds (keys only), payload
-- Returns: per job 1 done | 0 it is not there (any more) | 'DUP' an equal member is there already | an error's text
--          In the last two cases the job stays where it was.
-- A list has no way to delete by place: what leaves is overwritten in its place, and all of that deleted in one pass at
-- the end, which costs what it is from there to the nearer end, whatever number of jobs it is. No one sees it between.
-- Sent twice: the second answers 0 for each job that the first took, unless an equal one stands beside it: then that one
-- is taken, which is meant just as well.

local FIXED_KEYS, CHUNK, NEAR, SEARCHES = 7, 50, 200, 20
local list, ready_keys, key_queue, busy_keys, dead, queues, parked = unpack(KEYS, 1, FIXED_KEYS)
local key, later, gone = string.match(ARGV[1], '^=(.*)$'), tonumber(ARGV[2]), ARGV[3]
local at, codes, taken, first, last = 4, {}, 0, nil, nil
local size, shift, searches = redis.call('LLEN', list), 0, 0

local function next_argument()
  at = at + 1
  return ARGV[at - 1]
end

local function next_job()
  local job = {rank = tonumber(next_argument()), old = next_argument(), to = next_argument(), new = next_argument(),
               score = next_argument(), answers = {}}
  for i = 1, tonumber(next_argument()) do
    job.answers[i] = {list = tonumber(next_argument()), queue = next_argument(), ttl_s = tonumber(next_argument()),
                      payload = next_argument()}
  end
  return job
end

local function found_in(from, to, step, job)
  for start = from, to, step * CHUNK do
    local low = step > 0 and start or math.max(0, start - CHUNK + 1)
    for n, other in ipairs(redis.call('LRANGE', list, low, low + CHUNK - 1)) do
      if other == job then
        return low + n - 1
      end
    end
  end
end

-- Where the job stands. Since the number of pushes was read, others may have pushed more, or deleted newer ones: then
-- it is farther from the head or nearer to it, and so are those behind it.
local function place_of(job)
  local place = later + job.rank + shift
  if place >= 0 and redis.call('LINDEX', list, place) == job.old then
    return place
  elseif searches >= SEARCHES then
    return nil
  end
  searches = searches + 1
  local found = found_in(math.max(0, place + 1), math.min(place + NEAR, size - 1), 1, job.old)
    or found_in(math.min(place, size) - 1, math.max(0, place - NEAR), -1, job.old)
  shift = found and found - later - job.rank or shift
  return found
end

-- part: moves

-- part: clock

-- part: keys

-- Why nothing was done; what was done of it until then is undone.
local function effected(job)
  local why = job.to == 'zd' and add_to(dead, job.score, job.new)
  if why then
    return why
  end
  for i, answer in ipairs(job.answers) do
    why = push_to(queues, answer.queue, KEYS[FIXED_KEYS + answer.list], answer.payload, answer.ttl_s)
    if why then
      for n = i - 1, 1, -1 do
        redis.call('LPOP', KEYS[FIXED_KEYS + job.answers[n].list])
      end
      redis.call('ZREM', dead, job.new)
      return why
    end
  end
  if job.to == 'zd' then
    keep_copy(parked, '', job.new)
  end
end

for i = FIXED_KEYS + 1, #KEYS do
  if KEYS[i] == list then
    -- It would shift all places.
    return redis.error_reply('ERR answers cannot go to the very queue that they are taken out of')
  end
end

-- These reads also surface a wrong type before the first write.
redis.call('ZCARD', ready_keys)
redis.call('ZCARD', busy_keys)
while at <= #ARGV do
  local job = next_job()
  local place = place_of(job)
  if not place then
    codes[#codes + 1] = 0
  else
    redis.call('LSET', list, place, gone)
    local why = effected(job)
    if why then
      redis.call('LSET', list, place, job.old)
    else
      taken, first, last = taken + 1, math.min(first or place, place), math.max(last or place, place)
    end
    codes[#codes + 1] = why or 1
  end
end
if taken > 0 then
  redis.call('LREM', list, last <= size - 1 - first and taken or -taken, gone)
end
if key and taken > 0 then
  count_taken({key_queue = key_queue, ready_keys = ready_keys}, busy_keys, key, list, taken, last == size - 1)
end
return codes
