/**
 * Started with the bytes of an array. For each line `touch`: four times as much memory is touched and
 * given back, and a line says so. A virtual machine whose host takes back what is free for a while
 * pays for it again at the next touch, which can be many times the cost of copying; whoever is
 * measured right after this does not. For each line `copy`: prints how many milliseconds it takes to
 * copy such an array within this process, into memory that it never had.
 */
import { createInterface } from 'node:readline';

const bytes = Number(process.argv[2]);
const PIECE = 67_108_864;
for await (const line of createInterface(process.stdin)) {
  if (line === 'copy') console.log(copy());
  else {
    touch();
    globalThis.gc();
    console.log('touched');
  }
}

function touch() {
  const pieces = [];
  for (let at = 0; at < 4 * bytes; at += PIECE) {
    pieces.push(Buffer.allocUnsafeSlow(PIECE).fill(1));
  }
}

function copy() {
  const source = Buffer.allocUnsafeSlow(bytes).fill(1);
  const startMs = performance.now();
  source.copy(Buffer.allocUnsafeSlow(bytes));
  return performance.now() - startMs;
}
