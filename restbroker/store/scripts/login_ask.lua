#!lua flags=allow-oom
-- Claims a name for a question: it gets a connection by that, and must have none by a login. With the claim comes the
-- lock on the server, which ends by a put.
--
-- KEYS: logins, lease of the server
-- ARGV: user, claim (new for each; it is the lock's holder), lease (ms)
-- Returns: {'ON'}: they are logged in | {'BUSY', ms}: another adds or removes a stream | {'OFF'}: they were to be
-- logged off, and no one knows whether that was done | {'YOURS'}: the claim is noted
-- That a job logged them off is forgotten then: a name that asks is not logged in either.
-- Sent twice: the second changes nothing but the time, and the lease begins again.

local state, stream = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^(%a+) %d+ (.*)$')
if state == 'on' then
  return {'ON'}
end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[2] then
  return {'BUSY', math.max(1, redis.call('PTTL', KEYS[2]))}
end
if (state == 'off' or state == 'doubted') and stream ~= '' then
  return {'OFF'}
end
-- More than one may be under way: each ends by itself.
local claims = {}
for claim in string.gmatch(state == 'asks' and stream or '', '%S+') do
  if claim ~= ARGV[2] then
    claims[#claims + 1] = claim
  end
end
claims[#claims + 1] = ARGV[2]
local some = table.concat(claims, ' ', math.max(1, #claims - 31))
redis.call('HSET', KEYS[1], ARGV[1], string.format('asks %s ', redis.call('TIME')[1]) .. some)
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return {'YOURS'}
