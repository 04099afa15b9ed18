// Takes the steps of a test to examples/clients/restbroker_client.mjs, which is beside it. Steps and results are JSON.
import { readFileSync } from 'node:fs'
import { Refused, Restbroker, Unknown } from './restbroker_client.mjs'

const broker = new Restbroker()
const jids = []

async function act (verb, first, command, args, fields) {
  if (verb === 'wait') return { done: await broker.wait(jids.at(-1), first) }
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
