-- Order per key: of the jobs with one key, the next one starts once the one before it is settled. A part of other scripts,
-- behind the part that knows lines, on which it stands: jobs that wait for their predecessor are in the lines of their
-- queue (`wait`, `keys`), and `turn` has the keys whose next job may start now, by its number.
--
-- `hold` is a hash of a target: key -> 'state number cancel mark jid owner' while one of its jobs is in progress or waits;
-- a key without a record is free. `due` is a sorted set of a queue: key -> when its next job is due (epoch seconds).
--   state  h in hand: number of that job; mark is its ticket's number, owner its identity
--          r ready: number of the next job, the key is in one `turn`
--          d due later: likewise, the key is in one `due`
--          s stopped: mark is since when (epoch us), jid that of the job that died
--   cancel jobs of lower numbers are handed out marked, to die
--   jid    in another state than s: of the dead job under which the key was stopped before; '-' for none. As in a URL
--          (%2F); '#' and its SHA-1 if that is long; behind it ',' and since when the key was stopped
-- A ticket is `number:queue index:how key`; how is '=', '!' (to die) or '?' (its key is of another OrderBy, or '' where it
-- waited for its turn without a key under FairBy).
--
-- What `keep_order` takes of queues, whose keys follow one another from behind `first` on: all `wait`, `keys`, `turn`, `due`.
local function order_queues(first, count)
  local queues = {}
  for n = 1, count do
    local place = first + n
    queues[n] = {wait = KEYS[place], keys = KEYS[place + count], turn = KEYS[place + 2 * count],
                 due = KEYS[place + 3 * count]}
  end
  return queues
end

-- queues: {wait=, keys=, turn=, due=} of each of the target's queues.
local function keep_order(lines, hold, queues)
  local HOW, SCORE, TRIES, AT_ONCE = '^%d+:%d+:([=!?])(.*)$', '%.6f', 200, 200
  local order, whole, numbers_in, now_us = {}, lines.whole, lines.numbers_in, lines.now_us
  local max, min = math.max, math.min

  local function read(record)
    local state, number, cancel, mark, jid, owner = string.match(record or '', '^(%l) (%d+) (%d+) (%d+) (%S+) ?(.*)$')
    if state and #number <= 16 and #cancel <= 16 and #mark <= 18 then
      return {state = state, number = tonumber(number), cancel = tonumber(cancel), mark = mark, jid = jid, owner = owner}
    elseif record then
      -- Others wrote it: its next job may start.
      return {state = 'r', number = now_us, cancel = 0, mark = '0', jid = '-', owner = ''}
    end
  end
  order.read = read

  local function text_of(state, number, cancel, mark, jid, owner)
    return state .. ' ' .. whole(number) .. ' ' .. whole(cancel) .. ' ' .. mark .. ' ' .. jid .. ' ' .. owner
  end
  order.text_of = text_of

  -- A jid as records have it: any text is a jid, and a record has blanks between its parts.
  local function safe_jid(jid)
    if type(jid) ~= 'string' or jid == '' then
      return '-'
    elseif #jid > 192 then
      return '#' .. redis.sha1hex(jid)
    end
    local safe = jid == '-' and '%2D' or string.gsub(jid, '[^%w_.:-]', function(character)
      return string.format('%%%02X', string.byte(character))
    end)
    return #safe <= 192 and safe or '#' .. redis.sha1hex(jid)
  end

  -- Whether a job is the dead one under which its key was stopped, and which someone retried: it does not die with those
  -- that waited behind it.
  local function is_opener(record, raw)
    if record.jid == '-' then
      return false
    end
    local fields = lines.decode(raw)
    return type(fields) == 'table' and safe_jid(fields.jid) == string.match(record.jid, '^[^,]*')
  end

  -- A key that a job may have must be a text that all programs read.
  local function is_utf8(text)
    if not string.find(text, '[\128-\255]') then
      return true
    end
    local rest = string.gsub(text, '[\1-\127]+', '')
    rest = string.gsub(rest, '[\194-\223][\128-\191]', '')
    rest = string.gsub(rest, '\224[\160-\191][\128-\191]', '')
    rest = string.gsub(rest, '[\225-\236\238\239][\128-\191][\128-\191]', '')
    rest = string.gsub(rest, '\237[\128-\159][\128-\191]', '')
    rest = string.gsub(rest, '\240[\144-\191][\128-\191][\128-\191]', '')
    rest = string.gsub(rest, '[\241-\243][\128-\191][\128-\191][\128-\191]', '')
    rest = string.gsub(rest, '\244[\128-\143][\128-\191][\128-\191]', '')
    return rest == ''
  end

  -- Returns how the job of a ticket was handed out, and its key; nil for a job without a key.
  function order.of_ticket(ticket)
    return string.match(ticket, HOW)
  end

  -- Reads what must have its type before the first write. Returns an error's text, or nil.
  function order.refusal()
    local checks = {{'HLEN', hold}}
    for _, queue in ipairs(queues) do
      checks[#checks + 1], checks[#checks + 2] = {'HLEN', queue.wait}, {'HLEN', queue.keys}
      checks[#checks + 1], checks[#checks + 2] = {'ZCARD', queue.turn}, {'ZCARD', queue.due}
    end
    for _, check in ipairs(checks) do
      local reply = redis.pcall(check[1], check[2])
      if type(reply) == 'table' and reply.err then
        return check[2] .. ': ' .. reply.err
      end
    end
  end

  -- The first job of a key's line in a queue: its number, and the number behind the line's last; nil without one.
  local function head_in(queue, key)
    local found = redis.call('HGET', queue.keys, key)
    local head, after = numbers_in(found)
    local looks, first = TRIES, head
    while head and head < after and looks > 0 and redis.call('HEXISTS', queue.wait, whole(head) .. ':' .. key) == 0 do
      head, looks = head + 1, looks - 1
    end
    if head and head < after then
      if head > first then
        redis.call('HSET', queue.keys, key, whole(head) .. ' ' .. whole(after))
      end
      return head, after
    elseif found then
      redis.call('HDEL', queue.keys, key)
    end
  end

  -- The oldest job that waits of a key: its queue, its number, the number behind all of the key's.
  local function next_of(key)
    local best, number, last = nil, nil, 0
    for _, queue in ipairs(queues) do
      local head, after = head_in(queue, key)
      if head and (not number or head < number) then
        best, number = queue, head
      end
      last = max(last, after or 0)
    end
    return best, number, last
  end
  order.next_of = next_of

  -- Lets the next job of a key start, or forgets the key. Returns whether there is one.
  local function go_on(key, cancel, jid)
    local queue, number = next_of(key)
    if not queue then
      redis.call('HDEL', hold, key)
      return false
    end
    redis.call('ZADD', queue.turn, whole(number), key)
    redis.call('HSET', hold, key, text_of('r', number, cancel, '0', jid or '-', ''))
    return true
  end
  order.go_on = go_on

  -- Takes a key out of all ready and due places.
  function order.withdraw(key)
    for _, queue in ipairs(queues) do
      redis.call('ZREM', queue.turn, key)
      redis.call('ZREM', queue.due, key)
    end
  end

  -- Stores a job before all others of its key, under this number or the next one below that is free, and lets the line
  -- begin there. Returns the number; nil if none is free.
  local function store_first(queue, key, raw, number)
    local _, after = head_in(queue, key)
    after = max(after or 0, number + 1)
    -- What was stored under a number stays: its record may have been deleted by hand.
    for free = number, number - TRIES + 1, -1 do
      if redis.call('HSETNX', queue.wait, whole(free) .. ':' .. key, raw) == 1 then
        redis.call('HSET', queue.keys, key, whole(free) .. ' ' .. whole(after))
        return free
      end
    end
  end

  local function is_in_hand(record, ticket, id)
    return record and record.state == 'h' and record.owner == id and record.mark == string.match(ticket, '^%d+')
  end

  -- Whether the dead job itself comes next: it came while another one of its id was in hand, which was not let in.
  local function is_opener_next(record, key)
    local queue, number = next_of(key)
    return queue and is_opener(record, redis.call('HGET', queue.wait, whole(number) .. ':' .. key))
  end

  -- What becomes of the key once a job was settled that was handed out under it: its effect is 'go', 'stop', or
  -- 'refused' for a job that was not let in, which stops no key and opens none. Returns whether a successor may start.
  function order.settle(key, ticket, id, effect, jid)
    local record = read(redis.call('HGET', hold, key))
    if not is_in_hand(record, ticket, id) then
      return false
    elseif effect == 'refused' and record.jid ~= '-' and is_opener_next(record, key) then
      return go_on(key, record.cancel, record.jid)
    elseif effect == 'stop' or effect == 'refused' and record.jid ~= '-' then
      local who, since = safe_jid(jid), whole(now_us)
      if effect == 'refused' then
        local was, at = string.match(record.jid, '^([^,]*),?(%d*)$')
        who, since = was or record.jid, at and at ~= '' and at or since
      end
      redis.call('HSET', hold, key, text_of('s', record.number, record.cancel, since, who, ''))
      return false
    end
    return go_on(key, record.cancel)
  end

  -- Of many jobs that are done at once: as `settle` with 'go'. Returns {ticket = true} for each with a successor.
  function order.settle_all(tickets, names, id)
    local ready, free = {}, {}
    for from = 1, #tickets, AT_ONCE do
      local last = min(from + AT_ONCE - 1, #tickets)
      local records = redis.call('HMGET', hold, unpack(names, from, last))
      local waits = {}
      for _, queue in ipairs(queues) do
        if redis.call('HLEN', queue.keys) > 0 then
          for n, found in ipairs(redis.call('HMGET', queue.keys, unpack(names, from, last))) do
            waits[n] = waits[n] or found
          end
        end
      end
      for n = from, last do
        local found, end_of = records[n - from + 1], ' ' .. string.match(tickets[n], '^%d+') .. ' - ' .. id
        if not waits[n - from + 1] and found and string.byte(found) == 104 and string.sub(found, -#end_of) == end_of then
          -- In hand, as this ticket: most jobs end here.
          free[#free + 1] = names[n]
        else
          local record = read(found)
          if not is_in_hand(record, tickets[n], id) then
            -- Someone changed the record by hand.
          elseif not waits[n - from + 1] then
            free[#free + 1] = names[n]
          elseif go_on(names[n], record.cancel) then
            ready[tickets[n]] = true
          end
        end
      end
    end
    lines.each('HDEL', hold, free)
    return ready
  end

  -- Puts a job of a ticket back before its key's line, due at a time (epoch seconds; 0: now). Returns an error's text if no
  -- number is free, and whether it may start now.
  function order.put_back(queue, key, ticket, id, raw, at_s)
    local record = read(redis.call('HGET', hold, key))
    local is_ours = is_in_hand(record, ticket, id)
    local cancel, jid = record and record.cancel or 0, record and record.jid or '-'
    local _, first = next_of(key)
    -- Next to what waits: numbers of a line follow one another, or each would have to be looked for.
    local number = first and first - 1 or is_ours and record.number or now_us
    if is_ours and record.number < cancel and not is_opener(record, raw) then
      -- It was to die, and what is behind it perhaps not.
      cancel = max(cancel, number + 1)
    end
    number = store_first(queue, key, raw, number)
    if not number then
      return queue.wait .. ': no number is free before the first job of a line'
    end
    if record and not is_ours then
      -- Someone changed the record by hand: it keeps its state, and this job comes next.
      if record.state == 'r' then
        order.withdraw(key)
        go_on(key, record.cancel, record.jid)
      end
      return nil, false
    end
    local is_due = at_s * 1000000 <= now_us
    redis.call('ZADD', is_due and queue.turn or queue.due, is_due and whole(number) or string.format(SCORE, at_s), key)
    redis.call('HSET', hold, key, text_of(is_due and 'r' or 'd', number, cancel, '0', jid, ''))
    return nil, is_due
  end

  -- Makes those keys ready whose next job is due by now. Returns in how many milliseconds the next one is; -1: none is.
  function order.promote(queue)
    local due = redis.call('ZRANGEBYSCORE', queue.due, '-inf', string.format(SCORE, now_us / 1000000), 'LIMIT', 0, AT_ONCE)
    if #due > 0 then
      local records = redis.call('HMGET', hold, unpack(due))
      for n, key in ipairs(due) do
        local record = read(records[n])
        if record and record.state == 'd' then
          redis.call('ZADD', queue.turn, whole(record.number), key)
          redis.call('HSET', hold, key, text_of('r', record.number, record.cancel, '0', record.jid, ''))
        end
      end
      redis.call('ZREM', queue.due, unpack(due))
    end
    local first = redis.call('ZRANGE', queue.due, 0, 0, 'WITHSCORES')
    return first[2] and max(1, math.ceil((tonumber(first[2]) * 1000000 - now_us) / 1000)) or -1
  end

  -- Hands out jobs whose keys are ready. `accept` is called with each, and with the end of its ticket; it returns the
  -- ticket's number, or nil if there is no room, and then it and the rest stay. Returns them, and whether a call at once
  -- would find more.
  function order.serve(queue, want, left_bytes, accept, is_changed)
    local ready, given, at = redis.call('ZRANGE', queue.turn, 0, want - 1), {}, 1
    local records = #ready > 0 and redis.call('HMGET', hold, unpack(ready)) or {}
    local chunk, bytes, count, is_more = 1, 0, 0, false
    while at <= #ready do
      local keys_of, fields, heads, last = {}, {}, {}, min(#ready, at + chunk - 1)
      for n = at, last do
        local key, record = ready[n], read(records[n])
        local head, after = head_in(queue, key)
        if record and record.state ~= 'r' then
          redis.call('ZREM', queue.turn, key)
        elseif not head then
          redis.call('ZREM', queue.turn, key)
          go_on(key, record and record.cancel or 0, record and record.jid)
        else
          fields[#fields + 1] = whole(head) .. ':' .. key
          heads[#fields] = {key = key, number = head, after = after, record = record}
        end
      end
      at = last + 1
      local raws = #fields > 0 and redis.call('HMGET', queue.wait, unpack(fields)) or {}
      for n, one in ipairs(heads) do
        local cancel = one.record and one.record.cancel or 0
        local dies = raws[n] and one.number < cancel and not is_opener(one.record, raws[n])
        -- A process that still has FairBy may have put it there, under its own key or under none.
        local is_other = raws[n] and not dies and (is_changed or one.key == '' or lines.key_of(raws[n]) ~= one.key)
        local how = dies and '!' or is_other and '?' or '='
        local ticket = raws[n] and accept(raws[n], how .. one.key)
        if raws[n] and not ticket then
          return given, is_more
        elseif not ticket then
          -- Someone deleted many jobs here: a later call finds the next one.
          is_more = true
        else
          one.field, one.ticket, one.cancel = fields[n], ticket, cancel
          one.jid = one.record and is_opener(one.record, raws[n]) and one.record.jid or '-'
          given[#given + 1] = one
          bytes, count = bytes + #raws[n], count + 1
        end
      end
      -- A larger chunk once it is known how large they are.
      chunk = max(1, min(4 * chunk, AT_ONCE, math.floor(left_bytes / max(1, bytes / max(1, count)))))
    end
    return given, is_more
  end

  -- Writes what `serve` handed out.
  function order.write_served(queue, given, id)
    local fields, names, records, gone, held = {}, {}, {}, {}, {}
    for n, one in ipairs(given) do
      fields[n], names[n] = one.field, one.key
      if one.number + 1 < one.after then
        records[#records + 1], records[#records + 2] = one.key, whole(one.number + 1) .. ' ' .. whole(one.after)
      else
        gone[#gone + 1] = one.key
      end
      held[2 * n - 1] = one.key
      held[2 * n] = text_of('h', one.number, one.cancel, one.ticket, one.jid, id)
    end
    lines.each('HDEL', queue.wait, fields)
    lines.each('ZREM', queue.turn, names)
    lines.each('HSET', queue.keys, records)
    lines.each('HDEL', queue.keys, gone)
    lines.each('HSET', hold, held)
  end

  local function append(batch, key, raw)
    local line, record = batch.lines[key], batch.known[key]
    if not line then
      line = {number = max(record.number + 1, record.cancel), raws = {}}
      batch.lines[key] = line
      batch.names[#batch.names + 1] = key
    end
    line.raws[#line.raws + 1] = raw
  end

  -- Sorts jobs that were taken from a list: hands out those whose key is free, as `serve` does, and appends the others to
  -- their lines. Returns which place was not accepted, or nil; `batch` collects what is to be written.
  function order.sort(raws, id, accept, batch)
    local names, wanted, seen = {}, {}, {}
    for n = 1, #raws do
      local key = lines.key_of(raws[n])
      if key ~= '' and not is_utf8(key) then
        key = ''
      end
      names[n] = key
      if key ~= '' and batch.known[key] == nil and not seen[key] then
        wanted[#wanted + 1], seen[key] = key, true
      end
    end
    local found = #wanted > 0 and redis.call('HMGET', hold, unpack(wanted)) or {}
    for n, key in ipairs(wanted) do
      batch.known[key] = read(found[n]) or false
    end
    for n = 1, #raws do
      local key, raw = names[n], raws[n]
      local record = batch.known[key]
      batch.count = batch.count + 1
      local number = now_us + batch.count
      -- The dead job itself, which someone retries: it opens the key.
      local opens = record and record.state == 's' and is_opener(record, raw)
      if key == '' then
        if not accept(raw, nil) then
          return n
        end
        batch.without_key = batch.without_key + 1
      elseif not record or opens then
        local ticket = accept(raw, '=' .. key)
        if not ticket then
          return n
        end
        local held, size = batch.held, #batch.held
        held[size + 1] = key
        if opens then
          number = max(record.number, record.cancel)
          record.jid = record.jid .. ',' .. record.mark
          held[size + 2] = text_of('h', number, record.cancel, ticket, record.jid, id)
        else
          -- As `text_of` makes it: most jobs come here.
          held[size + 2] = 'h ' .. whole(number) .. ' 0 ' .. ticket .. ' - ' .. id
        end
        batch.known[key] = {state = 'h', number = number, cancel = 0, jid = opens and record.jid or '-'}
      elseif record.state == 'h' and is_opener(record, raw) then
        -- The one in hand may have no more than its id.
        batch.openers[#batch.openers + 1] = {key = key, raw = raw}
      else
        append(batch, key, raw)
      end
    end
  end

  function order.new_batch()
    return {known = {}, held = {}, lines = {}, names = {}, openers = {}, count = 0, without_key = 0}
  end

  -- Writes what `sort` found of a queue. Returns whether a fetch at once would find more.
  function order.write_sorted(queue, batch)
    lines.each('HSET', hold, batch.held)
    for _, one in ipairs(batch.openers) do
      local _, first = next_of(one.key)
      local number = first and first - 1 or batch.known[one.key].number
      if not store_first(queue, one.key, one.raw, number) then
        append(batch, one.key, one.raw)
      end
    end
    if #batch.names == 0 then
      return false
    end
    local stored, records, is_more = {}, {}, false
    local found = {}
    for _, other in ipairs(queues) do
      if other.keys == queue.keys or redis.call('HLEN', other.keys) > 0 then
        for from = 1, #batch.names, AT_ONCE do
          local last = min(from + AT_ONCE - 1, #batch.names)
          for n, record in ipairs(redis.call('HMGET', other.keys, unpack(batch.names, from, last))) do
            local name = batch.names[from + n - 1]
            -- Behind all of the key's, whichever queue they are from: a number says which came first.
            batch.lines[name].number = max(batch.lines[name].number, select(2, numbers_in(record)) or 0)
            found[from + n - 1] = other.keys == queue.keys and record or found[from + n - 1]
          end
        end
      end
    end
    for n, key in ipairs(batch.names) do
      local line = batch.lines[key]
      local head = numbers_in(found[n])
      local number = line.number
      for _, raw in ipairs(line.raws) do
        stored[#stored + 1], stored[#stored + 2] = whole(number) .. ':' .. key, raw
        number = number + 1
      end
      records[#records + 1], records[#records + 2] = key, whole(head or line.number) .. ' ' .. whole(number)
    end
    lines.each('HSET', queue.wait, stored)
    lines.each('HSET', queue.keys, records)
    for n, key in ipairs(batch.names) do
      local state = not found[n] and batch.known[key].state
      if state == 'r' or state == 'd' then
        -- A key that waits without a line: a person deleted its jobs, unless they are in another queue.
        is_more = order.mend(key, redis.call('HGET', hold, key)) or is_more
      end
    end
    return is_more
  end

  local function is_in_any(place, key)
    for _, queue in ipairs(queues) do
      if redis.call('ZSCORE', queue[place], key) then
        return true
      end
    end
    return false
  end

  -- Puts right what someone deleted of a key by hand, except of one that is in hand or stopped. Returns whether it did.
  function order.mend(key, found)
    local record = read(found)
    local _, number = next_of(key)
    if record and (record.state == 'h' or record.state == 's') then
      return false
    elseif record and number == record.number and is_in_any(record.state == 'd' and 'due' or 'turn', key) then
      return false
    elseif not record and not number then
      return false
    elseif record and record.state == 'r' and number and is_in_any('turn', key) then
      redis.call('HSET', hold, key, text_of('r', number, record.cancel, '0', record.jid, ''))
      return false
    end
    order.withdraw(key)
    go_on(key, record and record.cancel or 0, record and record.jid)
    return true
  end

  return order
end
