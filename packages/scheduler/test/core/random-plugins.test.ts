import { failure, pluginSet } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { RandomSource } from './random-source.ts';
import { bytes, SchedulerHarness } from './scheduler-harness.ts';
import type { FakeClient, FakeWorker } from './scheduler-harness.ts';

// Goal: whatever clients register and take back while workers come, answer, fail, are away and die,
// every question is answered once, and workers have what is registered when all has been answered.

const SEEDS = Number(process.env['FARM_SEEDS'] ?? 30);
const STEPS = 120;

/** A worker that does what it is told, some time later. */
class PluggedWorker {
  readonly fake: FakeWorker;
  readonly #has = new Map<string, string>();
  readonly #waiting: { request: number; name: string; spec: string | null }[] = [];
  isGone = false;
  isCut = false;

  constructor(fake: FakeWorker) {
    this.fake = fake;
  }

  listen(): void {
    for (const { request, name, kind, spec } of this.fake.taken('set-plugin')) {
      const shown = spec === null ? null : `${kind} ${new TextDecoder().decode(spec)}`;
      this.#waiting.push({ request, name, spec: shown });
    }
  }

  /** Answers the oldest; where `fails`, a setup has failed. */
  answer(fails: boolean): boolean {
    const told = this.#waiting.shift();
    if (told === undefined) return false;
    const { request, name, spec } = told;
    this.#has.delete(name);
    const isFailing = fails && spec !== null;
    if (spec !== null && !isFailing) this.#has.set(name, spec);
    const why = isFailing ? failure('ERR_PLUGIN', 'no', '', this.fake.name, null) : null;
    this.fake.say(pluginSet(request, why));
    return true;
  }

  get plugins(): readonly string[] {
    return [...this.#has].map(([name, spec]) => `${name} ${spec}`).toSorted();
  }
}

describe('plugins of workers', () => {
  test.each(Array.from({ length: SEEDS }, (_, seed) => seed + 1))('end well, seed %i', (seed) => {
    const random = new RandomSource(seed);
    const farm = new SchedulerHarness({ workerLeaseMs: 1_000_000 });
    const clients: FakeClient[] = [farm.client('c'), farm.client('d')];
    const workers: PluggedWorker[] = [];
    const asked = new Map<string, number>();
    let request = 1;
    const ask = (client: FakeClient, name: string, version: number | null): void => {
      asked.set(`${client.session} ${request}`, 0);
      const spec = bytes(`v${version}`);
      const kind = version === 3 ? 'nanny' : 'worker';
      client.say(
        version === null
          ? { op: 'ask', request, method: 'unregister-worker-plugin', params: { name } }
          : { op: 'ask', request, method: 'register-worker-plugin', params: { name, kind, spec } },
      );
      request += 1;
    };
    const hear = (): void => {
      for (const client of clients) {
        for (const reply of client.taken('reply')) {
          const key = `${client.session} ${reply.request}`;
          asked.set(key, (asked.get(key) ?? NaN) + 1);
        }
      }
      for (const worker of workers) worker.listen();
    };
    for (let step = 0; step < STEPS; step++) {
      const worker = workers[random.below(Math.max(1, workers.length))];
      const client = clients[random.below(clients.length)];
      const kind = random.below(12);
      if (kind <= 1 && workers.filter(({ isGone }) => !isGone).length < 4) {
        workers.push(new PluggedWorker(farm.worker(`w${workers.length}`)));
      } else if (kind <= 3 && client !== undefined) {
        ask(client, `p${random.below(3)}`, random.below(4));
      } else if (kind === 4 && client !== undefined) ask(client, `p${random.below(3)}`, null);
      else if (worker === undefined || worker.isGone) continue;
      else if (kind === 5) {
        worker.isGone = true;
        worker.fake.lose('died');
      } else if (kind === 6) {
        worker.isCut = !worker.isCut;
        if (worker.isCut) worker.fake.cut();
        else worker.fake.mend();
      } else if (!worker.isCut) worker.answer(random.below(4) === 0);
      hear();
    }
    const alive = workers.filter(({ isGone }) => !isGone);
    for (const worker of alive) if (worker.isCut) worker.fake.mend();
    hear();
    // From here on all goes well; what a failed setup had refused is registered anew.
    const settleAll = (): void => {
      for (let isBusy = true; isBusy; hear()) {
        isBusy = alive.map((worker) => worker.answer(false)).some((answered) => answered);
      }
    };
    settleAll();
    expect([...asked.values()].filter((answers) => answers !== 1)).toEqual([]);
    for (const name of ['p0', 'p1', 'p2']) ask(clients[0] ?? farm.client('e'), name, 9);
    hear();
    settleAll();
    for (const worker of alive) {
      expect(worker.plugins).toEqual(['p0 worker v9', 'p1 worker v9', 'p2 worker v9']);
    }
    clients[0]?.submit({ key: 'x', count: alive.length });
    for (const { fake } of alive) expect(fake.keys()).toHaveLength(1);
  });
});
