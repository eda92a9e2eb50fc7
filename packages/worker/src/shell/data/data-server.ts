import { FarmError, FarmServer, formatAddress, type Logger } from '@farm/protocol';

import type { OpenHostMemory } from './host-memory/host-memory.ts';
import { serveData } from './serve-data.ts';
import type { Store } from './store.ts';
import { StreamServer } from './stream-server.ts';

/** Options of {@link DataServer.listen}. */
export interface DataServerOptions {
  /** An address of this machine; `''` for every interface. */
  readonly host: string;
  /** Ports to try in turn; 0 is any free one. */
  readonly ports: readonly number[];
  /** Where peers are told to connect; the port is added. */
  readonly contactHost: string;
  /** The workers' token, which peers show. */
  readonly token: string;
  readonly workerName: string;
  readonly version: string;
  /** Identity of this worker process. */
  readonly id: string;
  /** Where its socket for workers on this host is, see `FarmServerOptions`. @default none */
  readonly localDirectory?: string | undefined;
  /** The values to serve, asked for at each request. */
  readonly store: () => Store;
  /** How peers on this host read values where they lie. @default they do not */
  readonly openHostMemory?: OpenHostMemory | undefined;
  readonly logger: Logger;
}

/** Serves this worker's results to other workers. */
export class DataServer implements AsyncDisposable {
  /** Where peers reach it: `tcp://host:port`. */
  readonly address: string;
  /** The token peers have to show. */
  readonly token: string;
  readonly #server: FarmServer;
  readonly #streams: StreamServer;

  /**
   * Starts to listen on the first port that is free.
   *
   * @throws FarmError `ERR_ADDRESS` where none is.
   */
  static async listen(options: DataServerOptions): Promise<DataServer> {
    const { host, ports, token, workerName, version, id, localDirectory, store, logger } = options;
    const { openHostMemory } = options;
    const streams = new StreamServer({ workerName, store, openHostMemory });
    let why: unknown = new FarmError('ERR_ADDRESS', 'there is no port to listen on');
    for (const port of ports) {
      try {
        const server = await FarmServer.listen({
          host,
          port,
          tokens: { peer: token },
          identity: { id, version, heartbeatMs: 0 },
          localDirectory,
          logger,
          onDataStream: (socket, isLocal) => streams.accept(socket, isLocal),
          onConnection: (...args) => {
            const [role, , connection] = args;
            if (role !== 'peer') return;
            connection.listen({
              messages: (batch) => {
                for (const message of batch) {
                  if (message.op !== 'get-data') continue;
                  serveData(message, store(), connection, workerName);
                }
              },
              bulk: () => connection.terminate(),
              closed: () => {},
            });
          },
        });
        return new DataServer(server, streams, options);
      } catch (error) {
        why = error;
      }
    }
    throw why;
  }

  private constructor(server: FarmServer, streams: StreamServer, options: DataServerOptions) {
    this.#server = server;
    this.#streams = streams;
    this.token = options.token;
    const { contactHost } = options;
    this.address = formatAddress({ secure: false, host: contactHost, port: server.address.port });
  }

  /** Values that peers read where they lie, at this moment. */
  get loans(): number {
    return this.#streams.loans;
  }

  /** Ends all connections of peers. Idempotent. */
  close(): Promise<void> {
    return this.#server.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
