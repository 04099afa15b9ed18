-- Puts jobs and answers where they belong. What Redis refuses ends no script: it is returned as an error's text.

-- An error's text, its key first: Redis' own words name none. Nil or false for any other reply.
local function failure(key, reply)
  return type(reply) == 'table' and reply.err and key .. ': ' .. reply.err
end

-- Into a sorted set, beside no equal member.
local function add_to(zset, score, member)
  local added = redis.pcall('ZADD', zset, 'NX', score, member)
  return failure(zset, added) or (added == 0 and 'DUP')
end

-- To the list of the queue of this name, at its next end or the other; without a name to a key, which lasts for a time.
local function push_to(queues, queue, list, payload, ttl_s, is_next)
  local why = queue ~= '' and failure(queues, redis.pcall('SADD', queues, queue))
    or failure(list, redis.pcall(is_next and 'RPUSH' or 'LPUSH', list, payload))
  if not why and queue == '' then
    redis.pcall('EXPIRE', list, ttl_s)
  end
  return why
end

-- A copy, in case someone trims the dead set; the job is dead without it too.
local function keep_copy(parked, ticket, payload)
  return redis.pcall('XADD', parked, 'MAXLEN', '~', 100000, '*', 'ticket', ticket, 'payload', payload)
end
