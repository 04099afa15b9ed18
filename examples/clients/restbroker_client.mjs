// Pushes jobs to restbroker and waits for answers (docs/producers.md). Copy it into your project; needs ioredis.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Redis } from 'ioredis'

class NotDone extends Error {
  constructor (text, jid, answer) { super(text); Object.assign(this, { jid, answer }) }
}
/** It was not done, and is not tried again: `answer.error` has `code`, `message` and `cure`. */
export class Refused extends NotDone {}
/** It may be done, or may still run: `wait` again. Push it again only with the same `idempotency_key`. */
export class Unknown extends NotDone {}

/** The token, read by restbroker's own rule: docs/tokens.md#how-a-secrets-file-is-read. */
function secret ({ RESTBROKER_TOKENFILE: file, RESTBROKER_TOKEN: text = '' }) {
  if (file) {
    const raw = readFileSync(file)
    const [one, two] = raw
    let encoding = 'utf-8'
    if (one === 0 || (one === 0xfe && two === 0xff)) encoding = 'utf-16be'
    if (two === 0 || (one === 0xff && two === 0xfe)) encoding = 'utf-16le'
    text = new TextDecoder(encoding, { fatal: true }).decode(raw).replace(/\r\n?/g, '\n')
    text = text.replace(/[\n\x85\u2028\u2029\x1a]+$/, '')
  }
  if (text.trim() && !text.includes('\0')) return text
  throw new Error('No token: set RESTBROKER_TOKENFILE to a file that has it, or RESTBROKER_TOKEN.')
}

/** Throws for what JSON.stringify would write as null, leave out, or write as something else. */
function strict (name, value) {
  const given = this[name]
  const lost = typeof value === 'number' ? !Number.isFinite(value) : value === null && given != null
  if (lost || ['function', 'symbol'].includes(typeof given) || ArrayBuffer.isView(given) ||
    [Map, Set, ArrayBuffer].some(kind => given instanceof kind)) throw new TypeError(`JSON cannot hold ${name || 'this'}`)
  return value
}

const seconds = (given, least = -Infinity) => {
  if (Number.isFinite(given) && given > least) return given
  throw new RangeError(`${given} is no number of seconds${least ? '' : ' above 0'}`)
}
// Set when the address was read, whose query would win over options of ioredis: a retry pushes a job twice.
const OWN = { maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false, commandTimeout: 10000, socketTimeout: undefined, keyPrefix: '' }

const ask = (jid, promise, pushes) => promise.catch(error => {
  if (pushes && error.name === 'ReplyError') throw Object.assign(error, { command: null }) // it has the token
  throw new Unknown(`The job ${jid} may be queued or done, or not: no answer from Redis (${error.name})`, jid)
})

export class Restbroker {
  constructor (url = process.env.REDIS_URL || 'redis://127.0.0.1:6379/0', queue = 'rest') {
    this.token = secret(process.env)
    this.queue = queue
    this.redis = new Redis(url).on('error', () => {}) // each push says it itself
    Object.assign(this.redis.options, OWN)
  }

  /** Queue a job, for now or `at` (epoch seconds); return its id. Without a connection it throws, and sends nothing. */
  async push (command, args, { at, ...fields } = {}) {
    const job = { class: 'Restbroker', jid: randomBytes(12).toString('hex'), queue: this.queue, retry: true, ...fields }
    const raw = JSON.stringify({ ...job, args: [command, args, this.token], created_at: Date.now() / 1000 }, strict)
    if (/(^|[^\\])(\\\\)*\\ud/.test(raw)) throw new TypeError('half of a surrogate pair is no text')
    if (at !== undefined) seconds(at)
    if (this.redis.status !== 'ready') await once(this.redis, 'ready', { signal: AbortSignal.timeout(10000) })
    await ask(job.jid, at !== undefined ? this.redis.zadd('schedule', at, raw) : this.redis.lpush(`queue:${this.queue}`, raw), true)
    return job.jid
  }

  later (sec, command, args, fields) { return this.push(command, args, { ...fields, at: Date.now() / 1000 + sec }) }

  async call (command, args, { timeout = 10, ...fields } = {}) {
    const jid = randomBytes(12).toString('hex')
    seconds(timeout, 0)
    return this.wait(await this.push(command, args, { ...fields, jid, reply_to: jid }), timeout)
  }

  async wait (jid, timeout = 10) {
    const end = Date.now() / 1000 + seconds(timeout, 0)
    const own = this.redis.duplicate().on('error', () => {}) // BLPOP has a connection to itself
    const pop = async left => left > 0 && // at least 10 ms: to an older Redis, less is for ever
      (await ask(jid, own.blpop(`restbroker:reply:${jid}`, Math.min(Math.max(left, 0.01), 5))) || pop(end - Date.now() / 1000))
    const found = await pop(timeout).finally(() => own.disconnect())
    if (!found) throw new Unknown(`No answer to the job ${jid} within ${timeout} s. It may still run.`, jid)
    const answer = await ask(jid, (async () => Object(JSON.parse(found[1])))())
    const { outcome, error, first } = answer
    if ([outcome, first?.outcome].some(one => ['delivered', 'negative'].includes(one))) return answer
    const Kind = ['uncertain', 'duplicate', undefined].includes(outcome) || answer.may_have_run ? Unknown : Refused
    throw new Kind(`${error?.code}: ${error?.message} ${error?.cure} (job ${jid})`, jid, answer)
  }
}
