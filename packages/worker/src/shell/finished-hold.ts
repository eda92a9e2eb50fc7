import { type Finished, finished, type WorkerMessage } from '@farm/protocol/core';

/** How long ends may wait for others to leave with. */
const HOLD_MS = 10;
/** A message about so many runs is worth sending at once. */
const FEW_RUNS = 4;
/** Results that leave in one message, unless a single one is larger. */
const TOGETHER_BYTES_MAX = 65_536;
const TOGETHER_RUNS_MAX = 256;

/**
 * Lets what is told of single ended runs leave in one message, while the worker has more to do: a message
 * costs both sides more than all else about a run of a millisecond. What ends after a silence, and
 * whatever else is to be said, leaves at once and in order.
 */
export class FinishedHold {
  readonly #send: (message: WorkerMessage) => void;
  readonly #held: Finished[] = [];
  #sentMs = -Infinity;
  #timer: NodeJS.Timeout | undefined;

  constructor(send: (message: WorkerMessage) => void) {
    this.#send = send;
  }

  /** @param isBusy - whether the worker has runs that are ready and have no slot yet */
  send(message: WorkerMessage, isBusy: boolean): void {
    const waitMs = this.#sentMs + HOLD_MS - performance.now();
    if (message.op !== 'finished' || message.runs.length > FEW_RUNS || !isBusy || waitMs <= 0) {
      this.flush();
      this.#send(message);
      return;
    }
    this.#held.push(message);
    this.#timer ??= setTimeout(() => this.flush(), waitMs);
  }

  /** Sends what is held. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sentMs = performance.now();
    for (const together of groups(this.#held.splice(0))) this.#send(merged(together));
  }
}

/** Cuts what is held into what one message takes, in order. */
function* groups(held: readonly Finished[]): Iterable<readonly Finished[]> {
  let group: Finished[] = [];
  let bytes = 0;
  let runs = 0;
  for (const message of held) {
    bytes += message.values.byteLength;
    runs += message.runs.length;
    if (group.length > 0 && (bytes > TOGETHER_BYTES_MAX || runs > TOGETHER_RUNS_MAX)) {
      yield group;
      group = [];
      bytes = message.values.byteLength;
      runs = message.runs.length;
    }
    group.push(message);
  }
  if (group.length > 0) yield group;
}

/** One message that says what these say one after the other. */
function merged(messages: readonly Finished[]): Finished {
  const [only] = messages;
  if (only !== undefined && messages.length === 1) return only;
  const values = new Uint8Array(messages.reduce((sum, { values }) => sum + values.byteLength, 0));
  const ends: number[] = [];
  let start = 0;
  for (const message of messages) {
    values.set(message.values, start);
    for (const end of message.ends) ends.push(start + end);
    start += message.values.byteLength;
  }
  return finished({
    runs: messages.flatMap(({ runs }) => runs),
    sizes: messages.flatMap(({ sizes }) => sizes),
    values,
    ends,
    durationsUs: messages.flatMap(({ durationsUs }) => durationsUs),
  });
}
