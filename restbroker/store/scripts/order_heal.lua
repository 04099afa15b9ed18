#!lua flags=allow-oom
-- Mends a part of what a target keeps of order, in case someone deleted something of it by hand: each job is in a line,
-- and each key that is neither in hand nor stopped is ready, due or gone.
--
-- KEYS: hold, then of all queues their `wait`, their `keys`, their `turn` and their `due` (see parts/order.lua)
-- ARGV: number of queues, what is looked through: 'hold', 'lines' or 'jobs', which queue's ('hold': 0), cursor ('0' begins),
--       about how many are looked at, what the target says of its order (JSON)
-- Returns: {next cursor ('0': that was all), how many were mended, bytes of jobs that were read, jobs of `wait`, how many
--          jobs these lines should have, key, record...}: of 'hold' the keys that are in hand, and their records
-- Sent twice: the second finds nothing to mend.

local count, what, place, cursor, looks, text = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]

-- part: lines

-- part: order

local hold, TRIES, AT_ONCE = KEYS[1], 200, 500
local lines, queues = fair_lines(text, 0), order_queues(1, count)
local order = keep_order(lines, hold, queues)
local why = order.refusal()
if why then
  return redis.error_reply('WRONGTYPE ' .. why)
end
local queue, healed, bytes, span, in_hand = queues[place], 0, 0, 0, {}
local page = redis.call('HSCAN', what == 'hold' and hold or what == 'lines' and queue.keys or queue.wait, cursor, 'COUNT', looks)
local found, whole = page[2], lines.whole

-- What a command answers for many names.
local function ask(command, key, names)
  local answers = {}
  for from = 1, #names, AT_ONCE do
    for n, answer in ipairs(redis.call(command, key, unpack(names, from, math.min(from + AT_ONCE - 1, #names)))) do
      answers[from + n - 1] = answer
    end
  end
  return answers
end

local function is_stored(wait, number, key)
  return redis.call('HEXISTS', wait, whole(number) .. ':' .. key) == 1
end

local function mend(key, record)
  healed = healed + (order.mend(key, record) and 1 or 0)
end

local records = {}

-- Gives a job that its key's record does not reach a place in its line.
local function reach(field, raw)
  local number, key = string.match(field, '^(%d+):(.*)$')
  number = number and #number <= 16 and tonumber(number)
  if not number then
    return
  end
  -- Many jobs of one key come together.
  records[key] = records[key] or {lines.numbers_in(redis.call('HGET', queue.keys, key))}
  local head, after = unpack(records[key])
  if head and number >= head and number < after then
    return
  elseif head and (number < head - TRIES or number > after + TRIES) then
    local first = head - 1
    if redis.call('HSETNX', queue.wait, whole(first) .. ':' .. key, raw) == 0 then
      return
    end
    redis.call('HDEL', queue.wait, field)
    number = first
  end
  local first, last = math.min(head or number, number), math.max(after or 0, number + 1)
  redis.call('HSET', queue.keys, key, whole(first) .. ' ' .. whole(last))
  order.mend(key, redis.call('HGET', hold, key))
  records[key], healed = nil, healed + 1
end

-- A line whose key is free gets a state, and a line's record does not begin with jobs that are gone.
local function look_at_lines()
  local names, heads = {}, {}
  for i = 1, #found, 2 do
    local head, after = lines.numbers_in(found[i + 1])
    if found[i] ~= '\0v' then
      names[#names + 1], heads[#names + 1], span = found[i], head or false, span + (head and after - head or 0)
    end
  end
  for n, record in ipairs(ask('HMGET', hold, names)) do
    if not record then
      mend(names[n], record)
    elseif not heads[n] or not is_stored(queue.wait, heads[n], names[n]) then
      order.next_of(names[n])
    end
  end
end

-- Whether keys are where their states say, and their lines begin as these say: so most are.
local function are_right(names, states)
  local first, right = {}, {}
  for _, one in ipairs(queues) do
    local ranges, scores = ask('HMGET', one.keys, names), {r = ask('ZMSCORE', one.turn, names), d = ask('ZMSCORE', one.due, names)}
    for n in ipairs(names) do
      local head = lines.numbers_in(ranges[n])
      if head and (not first[n] or head < first[n].number) then
        first[n] = {number = head, wait = one.wait}
      end
      right[n] = right[n] or scores[states[n].state][n] and true or false
    end
  end
  for n, key in ipairs(names) do
    right[n] = right[n] and first[n] and first[n].number == states[n].number and is_stored(first[n].wait, first[n].number, key)
  end
  return right
end

local function look_at_states()
  local names, states, texts = {}, {}, {}
  for i = 1, #found, 2 do
    local record = order.read(found[i + 1])
    if record.state == 'h' then
      in_hand[#in_hand + 1], in_hand[#in_hand + 2] = found[i], found[i + 1]
    elseif record.state == 'r' or record.state == 'd' then
      names[#names + 1], states[#names + 1], texts[#names + 1] = found[i], record, found[i + 1]
    elseif record.state ~= 's' then
      mend(found[i], found[i + 1])
    end
  end
  local right = are_right(names, states)
  for n, key in ipairs(names) do
    if not right[n] then
      mend(key, texts[n])
    end
  end
end

if what == 'lines' then
  look_at_lines()
elseif what == 'hold' then
  look_at_states()
else
  for i = 1, #found, 2 do
    bytes = bytes + #found[i + 1]
    reach(found[i], found[i + 1])
  end
end
return {page[1], healed, bytes, queue and redis.call('HLEN', queue.wait) or 0, span, unpack(in_hand)}
