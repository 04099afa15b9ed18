// BullMQ with undici: one process. `node bullmq_worker.mjs COUNT RATE` adds jobs (rate 0: at once); without, it works.
import { setTimeout as sleep } from "node:timers/promises";
import { Queue, Worker } from "bullmq";
import { Pool } from "undici";

const target = new URL(process.env.BENCH_TARGET);
const concurrency = Number(process.env.BENCH_CONCURRENCY);
const redis = new URL(process.env.BENCH_REDIS);
const connection = { host: redis.hostname, port: Number(redis.port), maxRetriesPerRequest: null };

const job = () => {
  const n = Math.round((performance.timeOrigin + performance.now()) * 1000);
  const data = { user: "john", host: "example.org", status: "hello ".repeat(20), n };
  // Attempts matter only where the target fails.
  const opts = { removeOnComplete: true, attempts: 25, backoff: { type: "fixed", delay: 1000 } };
  return { name: "set_presence", data, opts };
};

if (process.argv[2]) {
  const [count, rate] = process.argv.slice(2).map(Number);
  const queue = new Queue("bench", { connection });
  await queue.waitUntilReady();
  const began = performance.now();
  for (let pushed = 0; pushed < count; ) {
    let due = Math.min(count, pushed + 1000);
    if (rate) {
      await sleep(1);
      due = Math.min(due, Math.floor(((performance.now() - began) / 1000) * rate));
    }
    if (due > pushed) await queue.addBulk(Array.from({ length: due - pushed }, job));
    pushed = due;
  }
  await queue.close();
} else {
  const pool = new Pool(target.origin, { connections: concurrency });
  const headers = {
    "content-type": "application/json",
    authorization: "Basic " + Buffer.from("admin@example.org:bench").toString("base64"),
  };
  const call = async (job) => {
    const path = `${target.pathname}/${job.name}`;
    const { statusCode, body } = await pool.request({ path, method: "POST", headers, body: JSON.stringify(job.data) });
    await body.dump();
    if (statusCode >= 400) throw new Error(`status ${statusCode}`);
  };
  const worker = new Worker("bench", call, { connection, concurrency });
  process.on("SIGTERM", async () => {
    await worker.close();
    process.exit(0);
  });
}
