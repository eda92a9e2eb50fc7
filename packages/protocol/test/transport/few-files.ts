/** A server in a process that may open few files, for the test that runs it that way. */
import { FarmServer, accepted } from '@farm/protocol';

const server = await FarmServer.listen({
  host: '127.0.0.1',
  port: 0,
  tokens: { client: process.argv[2] ?? '' },
  identity: { id: 's-1', version: '0.1.0', heartbeatMs: 1_000 },
  onConnection(...[role, , connection]) {
    if (role !== 'client') return;
    connection.listen({
      messages: (batch) => batch.forEach(() => connection.send(accepted(1, 1))),
      bulk() {},
      closed() {},
    });
  },
});
console.log(server.address.port);
