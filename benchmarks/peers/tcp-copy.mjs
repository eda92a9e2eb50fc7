/**
 * A raw TCP copy by Node: `serve BYTES` sends so many bytes to whoever connects and prints its port;
 * `receive PORT BYTES ROUNDS` brings them into fresh memory and reads a number of each 4 KiB of
 * them, and prints the milliseconds of each round.
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
      const values = new Float64Array(target.buffer);
      let sum = 0;
      for (let index = 0; index < values.length; index += 512) sum += values[index];
      const reads = Math.ceil(values.length / 512);
      if (sum === (512 * reads * (reads - 1)) / 2) resolve();
      else reject(new Error(`${at} bytes arrived`));
    });
  });
}
