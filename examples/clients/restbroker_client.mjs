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

const { REDIS_URL = 'redis://127.0.0.1:6379/0', RESTBROKER_TOKENFILE: file, RESTBROKER_TOKEN } = process.env
// Without retries: when an answer of Redis is lost, ioredis would push the job a second time.
const OPTIONS = { maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false, commandTimeout: 10000 }

const ask = (jid, promise, pushes) => promise.catch(error => {
  if (pushes && error.name === 'ReplyError') throw Object.assign(error, { command: null }) // it has the token
  throw new Unknown(`The job ${jid} may be queued or done, or not: no answer from Redis (${error.name})`, jid)
})

export class Restbroker {
  constructor (url = REDIS_URL, queue = 'rest') {
    this.token = file ? readFileSync(file, 'utf8').trim() : RESTBROKER_TOKEN
    if (!this.token) throw new Error('Set RESTBROKER_TOKENFILE or RESTBROKER_TOKEN.')
    this.queue = queue
    this.redis = new Redis(url, OPTIONS).on('error', () => {}) // each push says it itself
  }

  /** Queue a job, for now or `at` (epoch seconds); return its id. Without a connection it throws, and sends nothing. */
  async push (command, args, { at, ...fields } = {}) {
    const job = { class: 'Restbroker', jid: randomBytes(12).toString('hex'), queue: this.queue, retry: true, ...fields }
    const raw = JSON.stringify({ ...job, args: [command, args, this.token], created_at: Date.now() / 1000 })
    if (this.redis.status !== 'ready') await once(this.redis, 'ready', { signal: AbortSignal.timeout(10000) })
    await ask(job.jid, at ? this.redis.zadd('schedule', at, raw) : this.redis.lpush(`queue:${this.queue}`, raw), true)
    return job.jid
  }

  later (sec, command, args, fields) { return this.push(command, args, { ...fields, at: Date.now() / 1000 + sec }) }

  async call (command, args, { timeout = 10, ...fields } = {}) {
    const jid = randomBytes(12).toString('hex')
    return this.wait(await this.push(command, args, { ...fields, jid, reply_to: jid }), timeout)
  }

  async wait (jid, timeout = 10) {
    const own = this.redis.duplicate().on('error', () => {}) // BLPOP has a connection to itself
    const pop = async left => left > 0 &&
      (await ask(jid, own.blpop(`restbroker:reply:${jid}`, Math.min(left, 5))) || pop(left - 5))
    const found = await pop(timeout).finally(() => own.disconnect())
    if (!found) throw new Unknown(`No answer to the job ${jid} within ${timeout} s. It may still run.`, jid)
    const answer = JSON.parse(found[1])
    const { outcome, error, first } = answer
    if ([outcome, first?.outcome].some(one => ['delivered', 'negative'].includes(one))) return answer
    const Kind = ['uncertain', 'duplicate'].includes(outcome) || answer.may_have_run ? Unknown : Refused
    throw new Kind(`${error.code}: ${error.message} ${error.cure} (job ${jid})`, jid, answer)
  }
}
