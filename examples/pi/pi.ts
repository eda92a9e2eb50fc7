/**
 * Estimates π by throwing random points at a square, one part of them per worker:
 * `node pi.ts scheduler.json [POINTS [WORKERS]]`
 */
import { readFileSync } from 'node:fs';

import { Client } from '@farm/client';

const schedulerFile = process.argv[2];
if (schedulerFile === undefined) {
  console.error('usage: pi.ts SCHEDULER_FILE [POINTS [WORKERS]]');
  process.exit(2);
}
const points = Number(process.argv[3] ?? 40_000_004);
const workersWanted = Number(process.argv[4] ?? 1);

// The address alone is enough where the scheduler runs as the same user on this machine.
const { address } = JSON.parse(readFileSync(schedulerFile, 'utf8')) as { address: string };
const client = new Client(address);
await client.waitForWorkers(workersWanted);
console.log(String(client));

function countPointsInsideCircle(count: number): number {
  let inside = 0;
  for (let thrown = 0; thrown < count; thrown++) {
    const x = Math.random() * 2 - 1;
    const y = Math.random() * 2 - 1;
    if (x * x + y * y < 1) inside += 1;
  }
  return inside;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

async function run(): Promise<string> {
  const startMs = performance.now();
  const { workers } = await client.schedulerInfo();
  const each = Math.floor(points / workers.length);
  const parts = workers.map(() => each);
  parts[parts.length - 1] = each + (points % workers.length);

  const counts = client.map(countPointsInsideCircle, parts); // one part per worker
  const inside = await client.submit(sum, counts).result(); // a list of futures as one argument
  const estimate = (4 * inside) / points;
  const seconds = ((performance.now() - startMs) / 1000).toFixed(3);
  const used = new Set(counts.map(({ worker }) => worker)).size;
  return [
    `Num samples: ${points.toExponential(2)}`,
    `Estimate: ${estimate.toFixed(9)}`,
    `Time taken: ${seconds} s`,
    `Workers: ${used}`,
  ].join('\t\t');
}

for (let index = 0; index < 5; index++) console.log(`Run ${index}\t\t${await run()}`);
await client.shutdown(); // ends the workers and the scheduler too
