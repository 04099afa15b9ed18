#!lua flags=no-writes
-- Members of a sorted set behind a place in it, which is told by score, and by how many of that score come before it.
--
-- KEYS: zset
-- ARGV: 'up' by rising scores | 'down' by falling ones, score ('' = from the beginning), how many members of that
--       score were passed, the SHA-1 of the last of these ('' = not known), how many members at most, how many bytes,
--       a word that the members must have ('' = all)
-- Returns: the size of the set, how many of the place's score come before what follows, then member, score, …
--          As many members as the bytes allow; at least one, unless the end is reached.
--          With a word: the size, how many were looked at (none: the end), the place behind them (score, how many of it,
--          digest), then those of them that have the word.
-- What was passed may be gone or have moved: then its place is looked for among NEAR members of the same score around
-- it, and if it is not there, all of that score come again. So nothing is left out, and its cost has nothing to do with
-- how deep the place is.

-- part: reading

local NEAR = 100
local zset, up, score = KEYS[1], ARGV[1] == 'up', ARGV[2]
local passed, digest, limit, bytes = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local word = ARGV[7]
local size = redis.call('ZCARD', zset)

local function range(from, to, ...)
  if up then
    return redis.call('ZRANGE', zset, from, to, ...)
  end
  return redis.call('ZRANGE', zset, from, to, 'REV', ...)
end

-- How many of the score's members come before the place; `first` is the rank of the first of them.
local function found(first, ties)
  passed = math.min(passed, ties)
  if passed == 0 or digest == '' then
    return passed
  end
  local last = range(first + passed - 1, first + passed - 1)[1]
  if redis.sha1hex(last) == digest then
    return passed
  end
  for from = math.max(0, passed - NEAR), math.min(ties, passed + NEAR) - 1, CHUNK do
    for n, member in ipairs(range(first + from, math.min(first + from + CHUNK, first + ties) - 1)) do
      if redis.sha1hex(member) == digest then
        return from + n
      end
    end
  end
  return 0
end

local function count_before(at)
  return up and redis.call('ZCOUNT', zset, '-inf', '(' .. at) or redis.call('ZCOUNT', zset, '(' .. at, '+inf')
end

local rank = 0
if score ~= '' then
  local first = count_before(score)
  passed = found(first, redis.call('ZCOUNT', zset, score, score))
  rank = first + passed
end

if word == '' then
  local page = {size, passed}
  fill(page, limit, bytes, 2, function(taken, count)
    return range(rank + taken, rank + taken + count - 1, 'WITHSCORES')
  end)
  return page
end

-- Few members have it: only their scores are read, and that of the last one.
local having = {}
local _, looked_at, last = fill(having, limit, bytes, 1, function(taken, count)
  return range(rank + taken, rank + taken + count - 1)
end, nil, word)
if not last then
  return {size, passed}
end
local at = redis.call('ZSCORE', zset, last)
local reply = {size, looked_at, at, rank + looked_at - count_before(at), redis.sha1hex(last)}
for _, member in ipairs(having) do
  reply[#reply + 1], reply[#reply + 2] = member, redis.call('ZSCORE', zset, member)
end
return reply
