// graphile-worker: `seed DSN JOBS`, `drain DSN`, `latency DSN`. The preset of its own performance test
// (perfTest/graphile.config.js of its repository): 24 jobs at once, a local queue of 500, batches without a delay.
"use strict";
const { run, makeWorkerUtils, Logger } = require("graphile-worker");
const { Pool } = require("pg");
const readline = require("node:readline");

const [command, dsn, count] = process.argv.slice(2);
const logger = new Logger(() => () => {});
const preset = {
  worker: {
    concurrentJobs: 24,
    maxPoolSize: 25,
    localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    gracefulShutdownAbortTimeout: 2500,
  },
};

async function seed() {
  const utils = await makeWorkerUtils({ connectionString: dsn, logger });
  await utils.migrate();
  const begin = performance.now();
  const before = process.cpuUsage();
  for (let start = 0; start < count; start += 1000) {
    const n = Math.min(1000, count - start);
    await utils.addJobs(Array.from({ length: n }, (_, i) => ({ identifier: "noop", payload: { n: start + i } })));
  }
  const used = process.cpuUsage(before);
  console.log(JSON.stringify({ seconds: (performance.now() - begin) / 1000, cpu: (used.user + used.system) / 1e6 }));
  await utils.release();
}

async function work(latency) {
  const pgPool = new Pool({ connectionString: dsn, max: 25 });
  pgPool.on("error", () => {});
  pgPool.on("connect", (client) => client.on("error", () => {}));
  const held = await Promise.all(Array.from({ length: 4 }, () => pgPool.connect())); // connected
  held.forEach((client) => client.release());
  let done = 0;
  const waits = [];
  const noop = async (payload) => {
    if (latency) waits.push(performance.timeOrigin + performance.now() - payload.t);
    done++;
  };
  setInterval(() => {
    if (done) process.stdout.write(`n ${done}\n`);
    done = 0;
  }, 5);
  let runner;
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("line", async () => {
    const chosen = latency ? { worker: { concurrentJobs: 10, maxPoolSize: 12 } } : preset;
    runner = await run({ preset: chosen, pgPool, logger, noHandleSignals: true, taskList: { noop } });
  });
  lines.on("close", async () => {
    if (runner) await runner.stop();
    if (latency) process.stdout.write(`\n${JSON.stringify(waits)}\n`);
    process.exit(0);
  });
  console.log("ready");
}

(command === "seed" ? seed() : work(command === "latency")).catch((error) => {
  console.error(error);
  process.exit(1);
});
