/**
 * Collects what happens in one turn of the event loop and hands it over in one piece, after all
 * sockets and threads that were ready have been heard. Handing over is never nested.
 */
export class EventQueue<Event> {
  readonly #handle: (events: readonly Event[]) => void;
  #events: Event[] = [];
  #isDue = false;
  #isClosed = false;

  constructor(handle: (events: readonly Event[]) => void) {
    this.#handle = handle;
  }

  post(event: Event): void {
    if (this.#isClosed) return;
    this.#events.push(event);
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(this.#drain);
  }

  /** Drops what is there and what comes. */
  close(): void {
    this.#isClosed = true;
    this.#events = [];
  }

  readonly #drain = (): void => {
    this.#isDue = false;
    const events = this.#events;
    this.#events = [];
    if (events.length > 0) this.#handle(events);
  };
}
