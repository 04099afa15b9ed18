// Adds jobs for bullmq_worker.mjs at a given rate: `node bullmq_producer.mjs RATE COUNT`; benchmarks/producer.py says how.
import { setTimeout as sleep } from "node:timers/promises";
import { Queue } from "bullmq";

const [rate, count] = process.argv.slice(2).map(Number);
const redis = new URL(process.env.BENCH_REDIS);
const queue = new Queue("bench", { connection: { host: redis.hostname, port: Number(redis.port) } });
await queue.waitUntilReady();

const job = () => {
  const n = Math.round((performance.timeOrigin + performance.now()) * 1000);
  const data = { user: "john", host: "example.org", status: "hello ".repeat(20), n };
  return { name: "set_presence", data, opts: { removeOnComplete: true } };
};

const began = performance.now();
for (let pushed = 0, due = 1; pushed < count; pushed += due) {
  await sleep(rate ? 1 : 10 + Math.random() * 20);
  due = rate ? Math.min(count, Math.floor(((performance.now() - began) / 1000) * rate)) - pushed : 1;
  if (due > 0) await queue.addBulk(Array.from({ length: due }, job));
}
await queue.close();
