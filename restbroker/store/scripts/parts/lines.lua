-- The lines of queues that are served fairly. A part of other scripts: it is called once a job or a line needs it, so
-- that a queue without lines costs nothing.
--
-- Of a queue, `wait` is a hash (number:key -> job), `keys` a hash (key -> the numbers of the first and of the next job in
-- its line; field \0v -> virtual time), `turn` a sorted set (key -> virtual finish time of its next job). A key has a
-- record and a turn exactly while it has a line.
--
-- text: what a target says of its fairness (JSON), '' for nothing; limit_bytes: of a larger job no key is read, unless
-- restbroker stored it.
local function fair_lines(text, limit_bytes)
  local V, WHOLE_COST, LONGEST_KEY, TRIES, BETWEEN, LARGEST, WIDEST = '\0v', 25200, 256, 200, '\31', 9e15, 1e9
  local read, said = pcall(cjson.decode, text)
  if not read or type(said) ~= 'table' then
    said = {}
  end
  local names, member, weights, host = said.by, said.member or 'fair_key', said.weights or {}, said.host
  local max, min, floor, format = math.max, math.min, math.floor, string.format
  local now = redis.call('TIME')
  local now_us = now[1] * 1000000 + now[2]
  local lines = {}

  local function decode(json)
    local is_json, value = pcall(cjson.decode, json)
    if is_json then
      return value
    end
  end

  local function key_part(value)
    if type(value) == 'string' and #value >= 1 and #value <= LONGEST_KEY and not string.find(value, '[%z\1-\31\127]') then
      return string.find(value, '[A-Z]') and string.gsub(value, '[A-Z]', string.lower) or value
    end
  end

  -- Of an object, of a list of pairs, or of a list of objects with one member each.
  local function argument(arguments, name)
    if arguments[name] ~= nil then
      return arguments[name]
    end
    for i = 1, #arguments do
      local item = arguments[i]
      if type(item) == 'table' then
        if #item == 2 and item[1] == name then
          return item[2]
        elseif item[name] ~= nil and next(item, next(item)) == nil then
          return item[name]
        end
      end
    end
    if name == 'host' then
      return host
    end
  end

  -- The args of a job of ActiveJob without its wrapper and its notes about hashes; nil for others.
  local function unwrapped(args)
    local wrapper = args[1]
    if args[2] ~= nil or type(wrapper) ~= 'table' or type(wrapper.job_class) ~= 'string' then
      return nil
    end
    local inner = wrapper.arguments
    if type(inner) ~= 'table' then
      return nil
    end
    local pairs_of = type(inner[2]) == 'table' and inner[2] or {}
    for i = 1, #pairs_of do
      local item = pairs_of[i]
      if type(item) == 'table' then
        item._aj_symbol_keys, item._aj_ruby2_keywords, item._aj_hash_with_indifferent_access = nil, nil, nil
      end
    end
    return inner
  end

  -- What restbroker stored was within the limit before, and grew by its history.
  local function is_read(raw)
    return #raw <= limit_bytes or #raw <= 4 * limit_bytes and string.find(raw, '"restbroker_', 1, true)
  end

  -- No job is refused for its key: what has none shares the line of ''.
  local function key_of(raw)
    local job = is_read(raw) and decode(raw)
    if type(job) ~= 'table' then
      return ''
    elseif not names then
      return key_part(job[member]) or ''
    end
    local args = job.args
    if type(args) == 'string' then
      args = decode(args)
    end
    if type(args) ~= 'table' then
      return ''
    end
    args = job.wrapped ~= nil and unwrapped(args) or args
    local arguments = args[2]
    if type(arguments) == 'string' then
      arguments = decode(arguments) or ''
    end
    if arguments == nil or arguments == cjson.null then
      arguments = {}
    elseif type(arguments) ~= 'table' then
      return ''
    end
    local parts = {}
    for i = 1, #names do
      parts[i] = key_part(argument(arguments, names[i]))
      if not parts[i] then
        return ''
      end
    end
    return table.concat(parts, BETWEEN)
  end

  local function cost_of(key)
    local weight = tonumber(weights[key]) or 1
    return floor(WHOLE_COST / max(1, min(100, weight)) + 0.5)
  end

  local function whole(number)
    return format('%.0f', number)
  end

  -- What is no number was written by others.
  local function time_in(value)
    return value and #value <= 16 and string.match(value, '^%d+$') and tonumber(value) or 0
  end

  local function numbers_in(record)
    local head, after = string.match(record or '', '^(%d+) (%d+)$')
    head, after = tonumber(head), tonumber(after)
    -- Beyond the largest, Lua could not count on. A line of more jobs than any queue has was written by others.
    if head and head < after and after < LARGEST and after - head <= WIDEST then
      return head, after
    end
  end

  -- What part `order` needs of these.
  lines.said, lines.now_us, lines.decode, lines.key_of, lines.whole, lines.numbers_in = said, now_us, decode, key_of, whole, numbers_in

  -- Takes up to so many jobs and bytes from a list, but one job however large. Returns them, the oldest first, and their
  -- size; nil if it is no list or may not be read.
  function lines.pop(list, most, most_bytes)
    local raws, size = {}, 0
    while #raws < most and size < most_bytes do
      -- The first alone: no one knows before how large they are.
      local chunk = #raws == 0 and 1 or max(1, min(most - #raws, 4 * #raws, floor((most_bytes - size) * #raws / max(1, size))))
      local found = redis.pcall('RPOP', list, chunk)
      if found and found.err then
        return nil, 0
      end
      for i = 1, found and #found or 0 do
        if size + #found[i] > most_bytes and #raws > 0 then
          for back = #found, i, -1 do
            redis.call('RPUSH', list, found[back])
          end
          return raws, size
        end
        raws[#raws + 1], size = found[i], size + #found[i]
      end
      if not found or #found < chunk then
        break
      end
    end
    return raws, size
  end

  -- Reads what a queue has of lines, and of the `want` keys whose turn is next. Raises a wrong type.
  function lines.open(wait, keys, turn, want)
    local queue = {wait = wait, keys = keys, turn = turn, first = {}, heap = {}, known = {}, lost = {}, touched = {}}
    queue.without_key = 0
    queue.v = time_in(redis.call('HGET', keys, V))
    queue.old_v = queue.v
    queue.waiting = redis.call('HLEN', wait)
    if want > 0 then
      queue.first = redis.call('ZRANGE', turn, 0, want - 1, 'WITHSCORES')
    else
      redis.call('ZCARD', turn)
    end
    return queue
  end

  local function is_before(one, other)
    return one.time < other.time or one.time == other.time and one.key < other.key
  end

  local function sink(heap, place)
    local line, size = heap[place], #heap
    while 2 * place <= size do
      local below = 2 * place
      if below < size and is_before(heap[below + 1], heap[below]) then
        below = below + 1
      end
      if not is_before(heap[below], line) then
        break
      end
      heap[place], place = heap[below], below
    end
    heap[place] = line
  end

  -- Reads the records of the keys that come first and of these jobs, and appends the jobs to their lines, in memory.
  function lines.append(queue, raws)
    local names_of, wanted, seen, heap, known = {}, {}, {}, queue.heap, queue.known
    for i = 1, #queue.first, 2 do
      local key = queue.first[i]
      wanted[#wanted + 1], seen[key] = key, true
    end
    local from_turn = #wanted
    for i = 1, #raws do
      local key = key_of(raws[i])
      names_of[i] = key
      queue.without_key = queue.without_key + (key == '' and 1 or 0)
      if not seen[key] then
        wanted[#wanted + 1], seen[key] = key, true
      end
    end
    if #wanted == 0 then
      return
    end
    local records = redis.call('HMGET', queue.keys, unpack(wanted))
    for i = 1, #wanted do
      local head, after = numbers_in(records[i])
      if head then
        local line = {key = wanted[i], head = head, after = after, stored = after, raws = {}}
        known[wanted[i]] = line
        if i <= from_turn then
          line.turn = tonumber(queue.first[2 * i])
          heap[#heap + 1] = line
        end
      elseif i <= from_turn then
        queue.lost[wanted[i]] = true
      end
    end
    for i = 1, #raws do
      local key = names_of[i]
      local line = known[key]
      if not line then
        line = {key = key, head = now_us, after = now_us, stored = now_us, raws = {}, turn = queue.v + cost_of(key)}
        line.is_new = true
        known[key], heap[#heap + 1] = line, line
      end
      line.raws[line.after] = raws[i]
      line.after = line.after + 1
      queue.touched[line] = true
    end
    for i = 1, #heap do
      heap[i].time, heap[i].at = heap[i].turn, heap[i].head
    end
    for i = floor(#heap / 2), 1, -1 do
      sink(heap, i)
    end
  end

  -- Hands out `want` jobs, those of the smallest virtual finish times. `accept` is called with each, and returns whether
  -- it was taken; if not, it and the rest stay. A job that someone deleted is passed over, and its key pays its turn.
  function lines.serve(queue, want, left_bytes, accept)
    local heap, picks, cold = queue.heap, {}, {}
    while #picks < want and #heap > 0 do
      local line = heap[1]
      local pick = {line = line, number = line.at, time = line.time}
      picks[#picks + 1] = pick
      pick.raw = line.raws[line.at]
      if not pick.raw then
        cold[#cold + 1] = pick
      end
      line.at = line.at + 1
      if line.at < line.after then
        line.time = line.time + cost_of(line.key)
      else
        heap[1] = heap[#heap]
        heap[#heap] = nil
      end
      if #heap > 0 then
        sink(heap, 1)
      end
    end
    local loaded, bytes, chunk = 0, 0, 1
    queue.taken = {}
    for i = 1, #picks do
      local pick = picks[i]
      if not pick.raw and loaded < #cold and cold[loaded + 1] == pick then
        local fields, count = {}, min(chunk, #cold - loaded)
        for n = 1, count do
          local one = cold[loaded + n]
          fields[n] = whole(one.number) .. ':' .. one.line.key
        end
        local found = redis.call('HMGET', queue.wait, unpack(fields))
        for n = 1, count do
          cold[loaded + n].raw, cold[loaded + n].field = found[n], fields[n]
          bytes = bytes + (found[n] and #found[n] or 0)
        end
        loaded = loaded + count
        -- A larger chunk once it is known how large they are.
        chunk = max(1, min(4 * chunk, floor(left_bytes / max(1, bytes / loaded))))
      end
      if pick.raw and not accept(pick.raw) then
        break
      end
      if pick.raw and pick.field then
        queue.taken[#queue.taken + 1] = pick.field
      end
      local line = pick.line
      line.head, queue.v = pick.number + 1, max(queue.v, pick.time)
      line.turn = pick.time + cost_of(line.key)
      queue.touched[line] = true
    end
  end

  local function each(command, key, fields)
    for from = 1, #fields, 500 do
      redis.call(command, key, unpack(fields, from, min(from + 499, #fields)))
    end
  end
  lines.each = each

  -- Writes what changed in memory. Returns how many jobs the lines have then.
  function lines.write(queue)
    local stored, records, gone, turns = {}, {}, {}, {}
    for line in pairs(queue.touched) do
      if line.head < line.after then
        for number = max(line.head, line.stored), line.after - 1 do
          stored[#stored + 1], stored[#stored + 2] = whole(number) .. ':' .. line.key, line.raws[number]
        end
        records[#records + 1], records[#records + 2] = line.key, whole(line.head) .. ' ' .. whole(line.after)
        if line.turn then
          turns[#turns + 1], turns[#turns + 2] = whole(line.turn), line.key
        end
      elseif not line.is_new then
        gone[#gone + 1] = line.key
      end
    end
    if queue.taken then
      each('HDEL', queue.wait, queue.taken)
    end
    each('HSET', queue.wait, stored)
    each('HSET', queue.keys, records)
    each('ZADD', queue.turn, turns)
    each('HDEL', queue.keys, gone)
    for key in pairs(queue.lost) do
      -- A turn without a line, unless it has one again.
      if not (queue.known[key] and queue.known[key].head < queue.known[key].after) then
        gone[#gone + 1] = key
      end
    end
    each('ZREM', queue.turn, gone)
    if queue.v ~= queue.old_v or #gone > 0 then
      if redis.call('ZCARD', queue.turn) == 0 then
        redis.call('HDEL', queue.keys, V)
      else
        redis.call('HSET', queue.keys, V, whole(queue.v))
      end
    end
    return redis.call('HLEN', queue.wait)
  end

  local function refusal(key, reply)
    return type(reply) == 'table' and reply.err and key .. ': ' .. reply.err
  end

  -- Puts a job before the first of its line. Returns an error's text if Redis refuses that; nothing was changed then.
  function lines.put_first(wait, keys, turn, raw)
    local key = key_of(raw)
    local found = redis.pcall('HMGET', keys, key, V)
    local scored = redis.pcall('ZSCORE', turn, key)
    local why = refusal(keys, found) or refusal(turn, scored)
    if why then
      return why
    end
    local head, after = numbers_in(found[1])
    local number = head and head - 1 or now_us
    after = after or now_us + 1
    for _ = 1, TRIES do
      -- What was stored under a number stays: its record may have been deleted by hand.
      local added = redis.pcall('HSETNX', wait, whole(number) .. ':' .. key, raw)
      why = refusal(wait, added)
      if why then
        return why
      elseif added == 1 then
        redis.call('HSET', keys, key, whole(number) .. ' ' .. whole(after))
        if not scored then
          redis.call('ZADD', turn, whole(time_in(found[2]) + cost_of(key)), key)
        end
        return nil
      end
      number = number - 1
    end
    return wait .. ': no number is free before the first job of a line'
  end

  return lines
end
