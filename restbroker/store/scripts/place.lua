#!lua flags=allow-oom
-- Gives members of a sorted set another place, as they are due or a person asked for, each for itself.
--
-- KEYS: zset, retry, schedule, dead, queues, parked, then lists of queues
-- ARGV: per job: old member, where to ('q' queue | 'f' queue, to be taken next | 'zr' retry | 'zs' schedule | 'zd' dead |
--       'x' nowhere: deleted), list (index from 1 among the lists, for a queue), queue name, new member ('' = the old one unchanged),
--       score ('' = the one that it has)
-- Returns: per job 1 done | 0 it is not there (any more) | 'DUP' an equal member is there already | an error's text
--          In the last two cases the member stays where it was, with its score.
-- Sent twice: the second answers 0 for each job that the first placed, or does it again where that changes nothing
-- (the same member gets the same score in the same set).

local FIXED_KEYS, FIELDS = 6, 6
local zset, queues, parked = KEYS[1], KEYS[5], KEYS[6]
local zsets = {zr = KEYS[2], zs = KEYS[3], zd = KEYS[4]}
local codes = {}

-- part: moves

for n = 1, #ARGV / FIELDS do
  local at = (n - 1) * FIELDS
  local old, to, list, queue, new, score = unpack(ARGV, at + 1, at + FIELDS)
  local was = redis.call('ZSCORE', zset, old)
  if not was then
    codes[n] = 0
  else
    local member, key, why = new == '' and old or new, zsets[to], nil
    redis.call('ZREM', zset, old)
    if to == 'q' or to == 'f' then
      why = push_to(queues, queue, KEYS[FIXED_KEYS + tonumber(list)], member, nil, to == 'f')
    elseif key then
      why = add_to(key, score == '' and was or score, member)
    end
    if why then
      redis.call('ZADD', zset, was, old)
    elseif to == 'zd' and (key ~= zset or member ~= old) then
      -- Also of what became of it there.
      keep_copy(parked, '', member)
    end
    codes[n] = why or 1
  end
end
return codes
