-- Puts back what lies in the hands of queues, each job at the end of its list that is served next, in its order. A hand is a
-- list: BLMOVE puts the job there that wakes a standing fetch, and the fetch behind it takes it from there. One that never
-- ran, as its process died, leaves it there. So whoever takes from a queue's list, or looks through it, comes here first:
-- else the jobs behind it would overtake it.
local function empty_hands(hands, lists, count)
  if redis.call('EXISTS', unpack(KEYS, hands + 1, hands + count)) > 0 then
    for n = 1, count do
      while redis.call('LMOVE', KEYS[hands + n], KEYS[lists + n], 'LEFT', 'RIGHT') do
      end
    end
  end
end

