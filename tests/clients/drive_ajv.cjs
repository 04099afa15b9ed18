// Compiles a JSON Schema (2020-12) in ajv, without formats of its own, and judges jobs. Request and answer are JSON.
const { default: Ajv } = require('ajv/dist/2020')

const { schema, jobs, options } = JSON.parse(require('fs').readFileSync(0, 'utf8'))
const said = []
const note = text => said.push(text)
const validate = new Ajv({ ...options, logger: { log: note, warn: note, error: note } }).compile(schema)
console.log(JSON.stringify({ said, valid: jobs.map(job => validate(job)) }))
