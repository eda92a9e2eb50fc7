import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { once } from 'node:events';

/**
 * A link of the network for tests: a TCP proxy that can be cut, loudly (sockets break, and dialling
 * fails) or silently (nothing arrives any more, as when packets are dropped), and mended.
 */
export class Link implements AsyncDisposable {
  readonly port: number;
  readonly #server: Server;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  readonly #mute = new Set<Socket>();
  #state: 'whole' | 'cut' | 'silent' = 'whole';
  /** Connections made through it so far. */
  dialled = 0;

  private constructor(server: Server, port: number, target: { host: string; port: number }) {
    this.#server = server;
    this.port = port;
    this.#target = target;
    server.on('connection', (socket: Socket) => this.#onSocket(socket));
  }

  static async to(target: { readonly host: string; readonly port: number }): Promise<Link> {
    const server = createServer({ pauseOnConnect: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const bound = server.address();
    if (typeof bound !== 'object' || bound === null) throw new Error('the proxy has no port');
    return new Link(server, bound.port, { ...target });
  }

  get address(): string {
    return `tcp://127.0.0.1:${this.port}`;
  }

  /** Breaks every socket, and lets none be made. */
  cut(): void {
    this.#state = 'cut';
    this.#breakAll();
  }

  /** Breaks the sockets of those that dialled; the other side hears nothing of it. */
  cutFar(): void {
    for (const pair of this.#pairs) {
      const [near, far] = pair;
      far.removeAllListeners('close');
      near.removeAllListeners('close');
      near.unpipe();
      far.unpipe();
      far.pause();
      this.#mute.add(far);
      this.#pairs.delete(pair);
      near.destroy();
    }
  }

  /** Lets nothing through any more; nobody is told. */
  silence(): void {
    this.#state = 'silent';
    for (const pair of this.#pairs) {
      for (const socket of pair) {
        socket.unpipe();
        socket.pause();
      }
    }
  }

  /** Lets connections be made again. Those that were silent are broken. */
  mend(): void {
    if (this.#state === 'silent') this.#breakAll();
    this.#state = 'whole';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#breakAll();
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }

  #breakAll(): void {
    for (const [one, other] of this.#pairs) {
      one.destroy();
      other.destroy();
    }
    for (const socket of this.#mute) socket.destroy();
    this.#pairs.clear();
    this.#mute.clear();
  }

  #onSocket(socket: Socket): void {
    socket.on('error', () => {});
    if (this.#state === 'cut') {
      socket.destroy();
      return;
    }
    if (this.#state === 'silent') {
      this.#mute.add(socket);
      return;
    }
    this.dialled += 1;
    const other = connect({ ...this.#target, noDelay: true });
    socket.setNoDelay(true);
    const pair = [socket, other] as const;
    this.#pairs.add(pair);
    other.on('error', () => {});
    for (const [from, to] of [pair, [other, socket]] as const) {
      from.on('close', () => {
        to.destroy();
        this.#pairs.delete(pair);
      });
      from.pipe(to);
    }
  }
}
