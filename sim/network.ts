/**
 * A network of connections, not of packets, as TCP shows it: what is said arrives in order, after
 * delays that are independent between links; a link may hold everything back for a while
 * (half-open), and a connection may break, which loses what was on its way.
 */
import type { Clock, Timer } from './clock.ts';
import { End } from './connection-end.ts';
import { Link } from './link.ts';
import type { LinkSurroundings, NetworkSettings } from './link.ts';
import type { SimulatedProcess } from './process.ts';

/** How a server answers to somebody who dials: with null, or with why it refuses. */
export interface Server<Hello, Payload> {
  readonly owner: SimulatedProcess;
  refusal(hello: Hello): string | null;
  opened(hello: Hello, end: End<Payload>): void;
}

/** What whoever dials is told. */
export interface Dial<Payload> {
  opened(end: End<Payload>): void;
  /** `isFinal`: the server itself said no. */
  failed(reason: string, isFinal: boolean): void;
}

/** All links, and who listens where. */
export class Network<Payload> implements LinkSurroundings {
  readonly clock: Clock;
  readonly seed: number;
  readonly settings: NetworkSettings;
  /** What everything takes longer than usual. */
  slowness = 1;
  readonly #links = new Map<string, Link<End<Payload>>>();
  readonly #servers = new Map<string, Server<unknown, Payload>>();

  constructor(clock: Clock, seed: number, settings: NetworkSettings) {
    this.clock = clock;
    this.seed = seed;
    this.settings = settings;
  }

  /** The way between two machines. */
  link(hostA: string, hostB: string): Link<End<Payload>> {
    const name = hostA < hostB ? `${hostA} ${hostB}` : `${hostB} ${hostA}`;
    let link = this.#links.get(name);
    if (link === undefined) this.#links.set(name, (link = new Link(this, name)));
    return link;
  }

  /** Begins to answer at an address. */
  listen<Hello>(address: string, server: Server<Hello, Payload>): void {
    this.#servers.set(address, server);
  }

  /** Ends to answer there. */
  unlisten(address: string): void {
    this.#servers.delete(address);
  }

  /** Opens a connection. */
  dial(
    from: SimulatedProcess,
    address: string,
    hello: unknown,
    toHost: string,
    dial: Dial<Payload>,
  ): void {
    const link = this.link(from.host, toHost);
    const call = new Call(this.clock, from, dial, this.settings.dialMs);
    this.clock.after(link.delayMs(from), () => {
      if (link.isCut) return;
      const server = this.#servers.get(address);
      if (server === undefined || server.owner.isDead) {
        this.#refuse(link, from, call, 'connection refused', false);
        return;
      }
      server.owner.run(() => {
        const refusal = server.refusal(hello);
        if (refusal === null) this.#connect(link, server, hello, call);
        else this.#refuse(link, server.owner, call, refusal, true);
      });
    });
  }

  #refuse(
    link: Link<End<Payload>>,
    speaker: SimulatedProcess,
    call: Call<Payload>,
    reason: string,
    isFinal: boolean,
  ): void {
    this.clock.after(link.delayMs(speaker), () => {
      if (!link.isCut) call.settle((dial) => dial.failed(reason, isFinal));
    });
  }

  #connect(
    link: Link<End<Payload>>,
    server: Server<unknown, Payload>,
    hello: unknown,
    call: Call<Payload>,
  ): void {
    const { from } = call;
    const near = new End(from, link);
    const far = new End(server.owner, link);
    near.join(far);
    far.join(near);
    server.opened(hello, far);
    // The system closes what a process had that ends before it is told.
    const closeDead = (): void => {
      if (from.isDead) near.terminate('the process ended');
    };
    const unwatch = from.watch(closeDead);
    closeDead();
    this.clock.after(link.delayMs(server.owner), () => {
      if (link.isCut) {
        near.terminate('the answer was lost');
        return;
      }
      from.run(() => {
        unwatch();
        // Whoever dialled may have given up.
        if (call.isOver) near.terminate('nobody waits for the answer');
        else call.settle((dial) => dial.opened(near));
      });
    });
  }
}

/** Somebody who dials and waits for an answer, with a deadline. */
class Call<Payload> {
  readonly from: SimulatedProcess;
  readonly #clock: Clock;
  readonly #dial: Dial<Payload>;
  readonly #deadline: Timer;
  #isOver = false;

  constructor(clock: Clock, from: SimulatedProcess, dial: Dial<Payload>, dialMs: number) {
    this.from = from;
    this.#clock = clock;
    this.#dial = dial;
    this.#deadline = clock.after(dialMs, () => {
      this.settle((waiting) => waiting.failed('no answer in time', false));
    });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Answers, unless that was done. */
  settle(answer: (dial: Dial<Payload>) => void): void {
    this.from.run(() => {
      if (this.#isOver) return;
      this.#isOver = true;
      this.#clock.cancel(this.#deadline);
      answer(this.#dial);
    });
  }
}
