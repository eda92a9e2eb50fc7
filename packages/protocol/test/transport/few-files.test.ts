import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { expect, it } from 'vitest';

import { accepted, clientHeartbeat, dial, makeToken } from '@farm/protocol';
import { record } from './recorder.ts';
import { CLIENT_HELLO } from './rig.ts';

it('a server that has no file descriptor left keeps its connections and recovers', async () => {
  const token = makeToken();
  const script = fileURLToPath(new URL('few-files.ts', import.meta.url));
  const command = 'ulimit -n 40; exec "$0" --conditions=@farm/source "$1" "$2"';
  const server = spawn('sh', ['-c', command, process.execPath, script, token], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    let port = 0;
    for await (const line of createInterface({ input: server.stdout })) {
      port = Number(line);
      break;
    }
    const address = { secure: false, host: '127.0.0.1', port };
    const options = {
      address,
      role: 'client',
      token,
      hello: CLIENT_HELLO,
      timeoutMs: 5_000,
    } as const;
    const { connection } = await dial(options);
    const client = record(connection);

    const sockets = Array.from({ length: 100 }, () => connect(port, '127.0.0.1'));
    await Promise.all(
      sockets.map((socket) => {
        socket.on('error', () => {});
        return new Promise((resolve) => {
          socket.once('connect', resolve);
          socket.once('close', resolve);
        });
      }),
    );
    for (let round = 1; round <= 50; round++) {
      connection.send(clientHeartbeat());
      await client.until(() => client.heard.length === round);
    }
    expect(client.heard).toEqual(Array.from({ length: 50 }, () => accepted(1, 1)));

    for (const socket of sockets) socket.destroy();
    let another = await dial(options).catch(() => undefined);
    // The server closes its ends in its own time.
    while (another === undefined) another = await dial(options).catch(() => undefined);
    another.connection.terminate();
    connection.terminate();
    expect(server.exitCode).toBe(null);
  } finally {
    server.kill();
  }
});
