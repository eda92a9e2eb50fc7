import { Client } from '@farm/client';
const client = new Client({ schedulerFile: '/tmp/e2e/s.json' });
await client.ready();
for (const n of [1_000_000]) {
  const m0 = process.memoryUsage(); const t0 = performance.now(); const c0 = process.cpuUsage();
  const fs = client.map((x: number) => x + 1, Array.from({ length: n }).keys());
  const t1 = performance.now();
  const v = await client.gather(fs);
  const t2 = performance.now(); const c = process.cpuUsage(c0); const m = process.memoryUsage();
  console.log(n, 'map', (t1 - t0).toFixed(), 'ms, total', (t2 - t0).toFixed(), 'ms', (n / (t2 - t0) * 1000).toFixed(), 'tasks/s, client cpu us/task', ((c.user + c.system) / n).toFixed(2), v.length, v[99], 'rss MB', (m.rss / 1e6).toFixed(), 'heap+ab', ((m.heapUsed + m.arrayBuffers - m0.heapUsed - m0.arrayBuffers) / n).toFixed(), 'B/task');
  const t3 = performance.now();
  for (const f of fs) f.release();
  console.log('release', (performance.now() - t3).toFixed());
}
console.log((await client.schedulerInfo()).tasks);
// 20k singles in chain
let f = client.submit((x: number) => x + 1, 0);
const t4 = performance.now();
for (let i = 0; i < 5000; i++) f = client.submit((x: number) => x + 1, f);
console.log(await f.result(), 'chain', (performance.now() - t4).toFixed(), 'ms');
const lost = client.submit(() => new Promise(() => {}));
setTimeout(() => client.shutdown().then(() => console.log('shut down')), 200);
console.log(String(await lost.exception()));
console.log(client);
const c2 = new Client('127.0.0.1:1', { token: 'abc', timeoutMs: 500 });
console.log(String(await c2.submit(() => 1).exception()));
const c3 = new Client('127.0.0.1:1');
console.log(String(await c3.submit(() => 1).exception()));
const c4 = new Client({ schedulerFile: 'nothere.json', timeoutMs: 300 });
console.log(String(await c4.submit(() => 1).exception()));
console.log('end');
