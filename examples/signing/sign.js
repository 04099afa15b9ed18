const { createHmac, randomBytes } = require('crypto');
const { readFileSync } = require('fs');

const canonical = (value) => Array.isArray(value) ? `[${value.map(canonical)}]`
  : value !== null && typeof value === 'object'
    ? `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`)}}`
    : JSON.stringify(value);

function signed(secret, name, jid, endpoint, args, replyId, queue) {
  const at = Math.floor(Date.now() / 1000);
  const text = canonical(['v1q', name, at, jid, endpoint, args, replyId, queue]);
  return `v1q:${name}:${at}:${createHmac('sha256', secret).update(text).digest('hex')}`;
}

const secret = readFileSync('app_token', 'utf8').trim();
const jid = randomBytes(12).toString('hex');
const named = { user: 'bob', host: 'example.org', nickname: 'Bób/Robert' };
const token = signed(secret, 'app', jid, 'set_nickname', named, 'order-7', 'rest');
console.log(JSON.stringify({ class: 'Restbroker', jid, queue: 'rest', retry: true,
  args: ['set_nickname', named, token, 'order-7'] }));
