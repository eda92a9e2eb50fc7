/**
 * For each line of input: `BYTES` of memory are touched and given back, and a line says so. A virtual
 * machine whose host takes back what is free for a while pays for it again at the next touch, which
 * can be many times the cost of copying; whoever is measured right after this does not.
 */
import { createInterface } from 'node:readline';

const bytes = Number(process.argv[2]);
const PIECE = 67_108_864;
for await (const _ of createInterface(process.stdin)) {
  let pieces = [];
  for (let at = 0; at < bytes; at += PIECE) pieces.push(Buffer.allocUnsafeSlow(PIECE).fill(1));
  pieces = undefined;
  globalThis.gc();
  console.log('touched');
}
