/**
 * Squares 16 numbers, a second each, on a running cluster:
 * `node squares.ts scheduler.json`
 */
import { Client } from '@farm/client';

const schedulerFile = process.argv[2];
if (schedulerFile === undefined) {
  console.error('usage: squares.ts SCHEDULER_FILE [COUNT]');
  process.exit(2);
}
const count = Number(process.argv[3] ?? 16);

await using client = new Client({ schedulerFile });

async function square(x: number): Promise<number> {
  // Stands for a second of work.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return x ** 2;
}

const startMs = performance.now();
const inputs = Float64Array.from({ length: count }, (_, index) => index);
const futures = client.map(square, inputs); // spread over all slots
const result = await client.gather(futures); // in the order of the inputs
const seconds = ((performance.now() - startMs) / 1000).toFixed(3);
console.log(`Result: [${result.join(', ')}] Computation time: ${seconds}`);
