import { FarmServer, PROTOCOL_VERSION, dial, makeToken } from '@farm/protocol';
import type {
  AcceptedConnections,
  ClientHello,
  DialedConnections,
  FarmServerOptions,
  LivenessTimes,
  WorkerHello,
} from '@farm/protocol';

/** A server for tests, and the client connections it has accepted so far. */
export interface Rig extends AsyncDisposable {
  readonly server: FarmServer;
  readonly url: string;
  readonly tokens: { readonly client: string; readonly worker: string };
  /** The next client connection accepted. */
  accepted(): Promise<AcceptedConnections['client']>;
  /** Dials as a client. */
  dial(options?: {
    readonly liveness?: LivenessTimes;
    readonly sendBufferBytesMax?: number;
  }): Promise<DialedConnections['client']>;
}

export const CLIENT_HELLO: ClientHello = {
  op: 'hello',
  role: 'client',
  protocol: PROTOCOL_VERSION,
  version: '0.1.0',
  incarnation: 'i-1',
  name: 'c-1',
};

export const WORKER_HELLO: WorkerHello = {
  op: 'hello',
  role: 'worker',
  protocol: PROTOCOL_VERSION,
  version: '0.1.0',
  incarnation: 'i-2',
  name: 'w-1',
  nthreads: 2,
  resources: [['GPU', 1]],
  memoryLimitBytes: null,
  address: 'tcp://127.0.0.1:4000',
  host: 'node1',
  pid: 4_242,
  localDirectory: '/tmp/w-1',
  nanny: false,
};

/** Starts a server on a free port of loopback. */
export async function startRig(options: Partial<FarmServerOptions> = {}): Promise<Rig> {
  const tokens = { client: makeToken(), worker: makeToken() };
  const waiting: ((connection: AcceptedConnections['client']) => void)[] = [];
  const ready: AcceptedConnections['client'][] = [];
  const server = await FarmServer.listen({
    host: '127.0.0.1',
    port: 0,
    tokens,
    identity: { id: 's-1', version: '0.1.0', heartbeatMs: 1_000 },
    onConnection(...[role, , connection]) {
      if (role !== 'client') return;
      const next = waiting.shift();
      if (next === undefined) ready.push(connection);
      else next(connection);
    },
    ...options,
  });
  return {
    server,
    tokens,
    url: `ws://127.0.0.1:${server.address.port}`,
    accepted() {
      const next = ready.shift();
      if (next !== undefined) return Promise.resolve(next);
      const { promise, resolve } = Promise.withResolvers<AcceptedConnections['client']>();
      waiting.push(resolve);
      return promise;
    },
    async dial(dialOptions = {}) {
      const { connection } = await dial({
        address: { secure: false, ...server.address },
        role: 'client',
        token: tokens.client,
        hello: CLIENT_HELLO,
        timeoutMs: 10_000,
        ...dialOptions,
      });
      return connection;
    },
    [Symbol.asyncDispose]: () => server.close(),
  };
}
