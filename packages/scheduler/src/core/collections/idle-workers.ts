import type { WorkerState } from '../state.ts';

/** Workers with a free slot, in order of arrival; also by the host they are on. */
export class IdleWorkers extends Set<WorkerState> {
  readonly #byHost = new Map<string, Set<WorkerState>>();

  /** Hosts that have such workers. */
  get hosts(): number {
    return this.#byHost.size;
  }

  /** Those of them that are on a host. */
  on(host: string): Iterable<WorkerState> {
    return this.#byHost.get(host) ?? [];
  }

  override add(worker: WorkerState): this {
    const { host } = worker.hello;
    const there = this.#byHost.get(host);
    if (there === undefined) this.#byHost.set(host, new Set([worker]));
    else there.add(worker);
    return super.add(worker);
  }

  override delete(worker: WorkerState): boolean {
    const { host } = worker.hello;
    const there = this.#byHost.get(host);
    if (there?.delete(worker) === true && there.size === 0) this.#byHost.delete(host);
    return super.delete(worker);
  }

  override clear(): void {
    this.#byHost.clear();
    super.clear();
  }
}
