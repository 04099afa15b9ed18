// Takes the steps of a test to examples/clients/restbroker_client.mjs, which is beside it. Steps and results are JSON.
import { readFileSync } from 'node:fs'
import { Refused, Restbroker, Unknown } from './restbroker_client.mjs'

process.env.REDIS_URL = process.env.LATER // after the import
const broker = new Restbroker()
const jids = []
const odd = [
  ...[0, -1, NaN, Infinity, null, '5', []].map(timeout => () => broker.call('c', {}, { timeout })),
  ...[NaN, [Infinity], 5n, Buffer.from('x'), new ArrayBuffer(1), new Map(), new Set(), () => 1, Symbol('x'), new Date(NaN),
    '\ud800', 'a\\\ud800', { '\udfff': 1 }].map(value => () => broker.push('c', { value })),
  ...[NaN, Infinity, 'soon', null].map(at => () => broker.push('c', {}, { at })),
  () => broker.push('c', {}, { expiry: NaN }),
  () => broker.later(Infinity, 'c', {})
]

const said = async what => {
  try { return { said: await what() } } catch (error) {
    return error instanceof Refused || error instanceof Unknown ? {} : { error: error.message }
  }
}

function token (file) {
  process.env.RESTBROKER_TOKENFILE = file
  const other = new Restbroker()
  other.redis.disconnect()
  return other.token
}

async function act (verb, first, command, args, fields) {
  if (verb === 'wait') return { done: await broker.wait(command ?? jids.at(-1), first) }
  if (verb === 'token') return said(() => token(first))
  if (verb === 'odd') {
    const taken = []
    for (const what of odd) if (!('error' in await said(what))) taken.push(String(what))
    return { taken }
  }
  if (verb === 'call') return { done: await broker.call(command, args, { timeout: first, ...fields }) }
  if (verb === 'later') return { jid: await broker.later(first, command, args, fields) }
  return { jid: await broker.push(command, args, fields) }
}

const results = []
for (const step of JSON.parse(readFileSync(0, 'utf8'))) {
  try { results.push(await act(...step)) } catch (error) {
    if (error instanceof Refused) results.push({ refused: error.message, code: error.answer.error.code })
    else if (error instanceof Unknown) {
      jids.push(error.jid)
      results.push({ unknown: error.message, jid: error.jid })
    } else throw error
  }
}
broker.redis.disconnect()
console.log(JSON.stringify(results))
