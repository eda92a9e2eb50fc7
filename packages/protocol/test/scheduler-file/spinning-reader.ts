/** Reads a scheduler file over and over, as a shell loop would, and counts what it sees. */
import { readFileSync } from 'node:fs';

const [, , path = ''] = process.argv;
const broken: string[] = [];
let whole = 0;
let isStopped = false;

process.on('message', () => {
  isStopped = true;
});

function spin(): void {
  for (let read = 0; read < 100; read++) {
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch {
      continue; // Not there at the moment.
    }
    try {
      JSON.parse(text);
      whole++;
    } catch {
      broken.push(text);
    }
  }
  if (!isStopped) {
    setImmediate(spin);
    return;
  }
  process.send?.({ whole, broken });
  process.disconnect();
}

process.send?.('ready');
spin();
