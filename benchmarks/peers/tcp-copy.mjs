/**
 * A raw TCP copy by Node: `serve BYTES` sends so many bytes to whoever connects and prints its port;
 * `receive PORT BYTES ROUNDS` brings them into fresh memory, and prints the milliseconds of each
 * round.
 */
import { connect, createServer } from 'node:net';

const [mode, first, second, third] = process.argv.slice(2);
if (mode === 'serve') {
  const values = new Float64Array(Number(first) / 8).map((_, index) => index);
  const bytes = new Uint8Array(values.buffer);
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.end(bytes);
  });
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
  process.stdin.on('end', () => process.exit()).resume();
} else {
  for (let round = 0; round < Number(third); round++) {
    const startMs = performance.now();
    await receive(Number(first), Number(second));
    console.log(performance.now() - startMs);
  }
}

function receive(port, sizeBytes) {
  const target = new Uint8Array(sizeBytes);
  let at = 0;
  return new Promise((resolve, reject) => {
    const buffer = new Uint8Array(1_048_576);
    const callback = (count, from) => {
      target.set(from.subarray(0, count), at);
      at += count;
      return true;
    };
    const socket = connect({ port, host: '127.0.0.1', onread: { buffer, callback } });
    socket.on('error', reject);
    socket.on('end', () => {
      const last = new Float64Array(target.buffer).at(-1);
      if (last === sizeBytes / 8 - 1) resolve();
      else reject(new Error(`${at} bytes arrived`));
    });
  });
}
