#!lua flags=allow-oom
-- Changes the states of keys, as a person asks for it.
--
-- KEYS: hold, then of all queues their `wait`, their `keys`, their `turn` and their `due` (see parts/order.lua)
-- ARGV: number of queues, what to do, what the target says of its order (JSON), then per key: key, the record that it must
--       have ('': any)
--       'free'  in hand, though its job is nowhere: the next one may start
--       'skip'  stopped: the next one may start
--       'retry' due later: now
--       'drop'  all that wait now are handed out to die; a stopped key goes on
-- Returns: per key 1 done | 0 it is in another state, or has another record
-- Sent twice: the second answers 0.

local count, what, text = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local STATES = {free = 'h', skip = 's', retry = 'd'}

-- part: lines

-- part: order

local hold, codes = KEYS[1], {}
local lines = fair_lines(text, 0)
local order = keep_order(lines, hold, order_queues(1, count))
local why = order.refusal()
if why then
  return redis.error_reply('WRONGTYPE ' .. why)
end

local function steer(key, found)
  local record = order.read(found)
  if not record or STATES[what] and record.state ~= STATES[what] then
    return false
  elseif what ~= 'drop' then
    order.withdraw(key)
    -- What is tried now is the same job: if it is the one that stopped the key, it still does not die with the others.
    order.go_on(key, record.cancel, what == 'retry' and record.jid)
    return true
  end
  local _, _, last = order.next_of(key)
  local cancel = math.max(record.cancel, last)
  if record.state == 'h' then
    local jid = cancel > record.cancel and '-' or record.jid
    redis.call('HSET', hold, key, order.text_of('h', record.number, cancel, record.mark, jid, record.owner))
  else
    order.withdraw(key)
    order.go_on(key, cancel)
  end
  return cancel > record.cancel or record.state ~= 'h'
end

for at = 4, #ARGV, 2 do
  local found = redis.call('HGET', hold, ARGV[at])
  local is_meant = ARGV[at + 1] == '' or ARGV[at + 1] == found
  codes[#codes + 1] = is_meant and steer(ARGV[at], found or nil) and 1 or 0
end
return codes
