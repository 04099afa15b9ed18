-- Puts back what lies in the hands of queues, each job at the end of its list that is served next, in its order. A hand is a
-- list: BLMOVE puts the job there that wakes a standing fetch, and the fetch behind it takes it from there. One that never
-- ran, as its process died, leaves it there. So whoever takes from a queue's list, or looks through it, comes here first:
-- else the jobs behind it would overtake it. If the hand or the list is of another type, the hand stays as it is; returns
-- a table in which the places of such queues are true. Of the first it moves without a look: a user who may not is
-- refused that at the start, and not once a process died.
local function empty_hands(hands, lists, count)
  local stuck = {}
  local none_there = count > 1 and redis.call('EXISTS', unpack(KEYS, hands + 1, hands + count)) == 0
  for n = 1, none_there and 1 or count do
    local moved
    repeat
      moved = redis.pcall('LMOVE', KEYS[hands + n], KEYS[lists + n], 'LEFT', 'RIGHT')
    until type(moved) ~= 'string'
    if moved then
      stuck[n] = string.find(moved.err, '^WRONGTYPE') and true or error(moved)
    end
  end
  return stuck
end

