#!lua flags=allow-oom
-- Mends a part of what a target keeps of order, in case someone deleted something of it by hand: each job is in a line,
-- and each key that is neither in hand nor stopped is ready, due or gone.
--
-- KEYS: hold, then of all queues their `wait`, their `keys`, their `turn` and their `due` (see parts/order.lua)
-- ARGV: number of queues, what is looked through: 'hold', 'lines' or 'jobs', which queue's ('hold': 0), cursor ('0' begins),
--       about how many are looked at, what the target says of its order (JSON)
-- Returns: {next cursor ('0': that was all), how many were mended, bytes of jobs that were read, key, record...}: of 'hold'
--          the keys that are in hand, and their records
-- Sent twice: the second finds nothing to mend.

local count, what, place, cursor, looks, text = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]

-- part: lines

-- part: order

local hold, TRIES = KEYS[1], 200
local lines, queues = fair_lines(text, 0), order_queues(1, count)
local order = keep_order(lines, hold, queues)
local why = order.refusal()
if why then
  return redis.error_reply('WRONGTYPE ' .. why)
end
local queue, healed, bytes, in_hand = queues[place], 0, 0, {}
local page = redis.call('HSCAN', what == 'hold' and hold or what == 'lines' and queue.keys or queue.wait, cursor, 'COUNT', looks)
local found = page[2]

-- Gives a job that its key's record does not reach a place in its line.
local function reach(field, raw)
  local number, key = string.match(field, '^(%d+):(.*)$')
  number = number and #number <= 16 and tonumber(number)
  if not number then
    return
  end
  local record = redis.call('HGET', queue.keys, key)
  local head, after = lines.numbers_in(record)
  if head and number >= head and number < after then
    return
  elseif head and (number < head - TRIES or number > after + TRIES) then
    local first = head - 1
    if redis.call('HSETNX', queue.wait, lines.whole(first) .. ':' .. key, raw) == 0 then
      return
    end
    redis.call('HDEL', queue.wait, field)
    number = first
  end
  local first, last = math.min(head or number, number), math.max(after or 0, number + 1)
  redis.call('HSET', queue.keys, key, lines.whole(first) .. ' ' .. lines.whole(last))
  order.mend(key, redis.call('HGET', hold, key))
  healed = healed + 1
end

for i = 1, #found, 2 do
  local key, value = found[i], found[i + 1]
  if what == 'jobs' then
    bytes = bytes + #value
    reach(key, value)
  elseif key ~= '\0v' then
    local record = what == 'hold' and value or redis.call('HGET', hold, key)
    healed = healed + (order.mend(key, record) and 1 or 0)
    local state = what == 'hold' and order.read(record).state
    if state == 'h' then
      in_hand[#in_hand + 1], in_hand[#in_hand + 2] = key, record
    end
  end
end
return {page[1], healed, bytes, unpack(in_hand)}
