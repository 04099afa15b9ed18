#!lua flags=allow-oom
-- Moves members of a sorted set to their queues, or unreadable ones to the dead set, each for itself.
--
-- KEYS: zset, dead, queues, parked, then lists of queues
-- ARGV: per job: old member, list (index from 1 among the lists, 0 = dead), queue name ('' for dead),
--       new member ('' = push the old one unchanged), score in the dead set
-- Returns: per job 1 moved | 0 another moved it | 'DUP' dead holds an equal member | an error's text
--          In the last two cases the member stays where it was, with its score.
-- Sent twice: the second answers 0 for each job that the first moved.

local FIXED_KEYS, FIELDS = 4, 5
local zset, dead, queues, parked = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local codes = {}

-- part: moves

local function place(list, queue, payload, score)
  if list == 0 then
    local why = add_to(dead, score, payload)
    if not why then
      keep_copy(parked, '', payload)
    end
    return why
  end
  return push_to(queues, queue, KEYS[FIXED_KEYS + list], payload)
end

for n = 1, #ARGV / FIELDS do
  local at = (n - 1) * FIELDS
  local old, list, queue, new, score = unpack(ARGV, at + 1, at + FIELDS)
  local was = redis.call('ZSCORE', zset, old)
  if not was then
    codes[n] = 0
  else
    redis.call('ZREM', zset, old)
    local why = place(tonumber(list), queue, new == '' and old or new, score)
    if why then
      redis.call('ZADD', zset, was, old)
    end
    codes[n] = why or 1
  end
end
return codes
