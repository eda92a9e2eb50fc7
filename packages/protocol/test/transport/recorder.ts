import type { BulkFrame, Connection, ConnectionHandlers, FarmError } from '@farm/protocol';

/** Keeps what a connection hears, and lets a test wait for it. */
export class Recorder<In> implements ConnectionHandlers<In> {
  readonly batches: (readonly In[])[] = [];
  readonly bulks: BulkFrame[] = [];
  readonly closes: FarmError[] = [];
  /** `m` for a batch, `b` for a bulk frame, `c` for closed, in order of arrival. */
  trace = '';
  readonly #waiting: { isDone: () => boolean; resolve: () => void }[] = [];

  get heard(): readonly In[] {
    return this.batches.flat();
  }

  messages(batch: readonly In[]): void {
    this.batches.push(batch);
    this.#note('m');
  }

  bulk(frame: BulkFrame): void {
    this.bulks.push(frame);
    this.#note('b');
  }

  closed(why: FarmError): void {
    this.closes.push(why);
    this.#note('c');
  }

  /** Resolves once the condition holds; the test's own deadline bounds the wait. */
  until(isDone: () => boolean): Promise<void> {
    if (isDone()) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ isDone, resolve });
    return promise;
  }

  /** Resolves with the reason once the connection is closed. */
  async untilClosed(): Promise<FarmError> {
    await this.until(() => this.closes.length > 0);
    const [why] = this.closes;
    if (why === undefined) throw new Error('closed without a reason');
    return why;
  }

  #note(what: string): void {
    this.trace += what;
    for (const { isDone, resolve } of this.#waiting) if (isDone()) resolve();
  }
}

/** Starts to record a connection. */
export function record<In>(connection: Connection<In, never>): Recorder<In> {
  const recorder = new Recorder<In>();
  connection.listen(recorder);
  return recorder;
}
