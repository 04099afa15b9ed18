// BullMQ with undici: one process. `node bullmq_worker.mjs COUNT` enqueues; without a count it works.
import { Queue, Worker } from "bullmq";
import { Pool } from "undici";

const target = new URL(process.env.BENCH_TARGET);
const concurrency = Number(process.env.BENCH_CONCURRENCY);
const redis = new URL(process.env.BENCH_REDIS);
const connection = { host: redis.hostname, port: Number(redis.port), maxRetriesPerRequest: null };

if (process.argv[2]) {
  const queue = new Queue("bench", { connection });
  const count = Number(process.argv[2]);
  for (let start = 0; start < count; start += 1000) {
    const jobs = Array.from({ length: Math.min(1000, count - start) }, (_, index) => ({
      name: "set_presence",
      data: { user: "john", host: "example.org", status: "hello ".repeat(20), n: start + index },
      // Attempts matter only where the target fails.
      opts: { removeOnComplete: true, attempts: 25, backoff: { type: "fixed", delay: 1000 } },
    }));
    await queue.addBulk(jobs);
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
