/**
 * Goal: whatever clients do with shared state and however they leave, every request is answered
 * once, and nothing is left. Method: a seed decides a long row of steps on few names; the core is
 * validated after each.
 */
import { ask, sharedItem } from '@farm/protocol/core';
import type { Ask } from '@farm/protocol/core';
import { expect, test } from 'vitest';

import { RandomSource } from './random-source.ts';
import { SchedulerHarness, bytes } from './scheduler-harness.ts';
import type { FakeClient, FakeWorker } from './scheduler-harness.ts';

const SEEDS = Number(process.env['FARM_SEEDS'] ?? 150);
const FIRST_SEED = Number(process.env['FARM_SEED'] ?? 1);
const STEPS = 200;
/** Own submits use ids from 0 on, what is got from here on. */
const GOT_FROM = 1_000_000;

interface Sharer {
  readonly fake: FakeClient;
  /** Futures it has, its own and those it got. */
  readonly futures: Set<number>;
  readonly open: Set<number>;
  got: number;
}

class RandomSharing {
  readonly random: RandomSource;
  readonly farm = new SchedulerHarness();
  readonly worker: FakeWorker;
  sharers: Sharer[] = [];
  #request = 0;
  #names = 0;

  constructor(seed: number) {
    this.random = new RandomSource(seed);
    this.worker = this.farm.worker('w', { nthreads: 4 });
  }

  step(): void {
    const { random, farm } = this;
    const sharer = random.pick(this.sharers);
    const what = random.below(100);
    if (sharer === undefined || what < 4) this.join();
    else if (what < 7) this.leave(sharer);
    else if (what < 17) sharer.futures.add(sharer.fake.submit({ key: `k${this.#names++}` }));
    else if (what < 22) this.release(sharer, random.some([...sharer.futures], 0.3));
    else if (what < 27) farm.tick(random.below(40));
    else if (what < 35) this.worker.finish();
    else this.ask(sharer);
    this.listen();
  }

  join(): void {
    const fake = this.farm.client(`c${this.#names++}`);
    this.sharers.push({ fake, futures: new Set(), open: new Set(), got: GOT_FROM });
  }

  leave(sharer: Sharer): void {
    this.sharers = this.sharers.filter((other) => other !== sharer);
    if (this.random.chance(0.5)) sharer.fake.close();
    else sharer.fake.lose();
  }

  release({ fake, futures }: Sharer, ids: readonly number[]): void {
    for (const id of ids) futures.delete(id);
    fake.release(...ids);
  }

  ask(sharer: Sharer): void {
    const request = this.#request++;
    sharer.open.add(request);
    sharer.fake.say(this.question(sharer, request));
  }

  question(sharer: Sharer, request: number): Ask {
    const { random } = this;
    const name = `n${random.below(2)}`;
    const timeoutMs = random.pick([null, null, 0, 30]) ?? null;
    const lease = random.below(3);
    const leasesMax = 2;
    const futures = random.some([...sharer.futures], 0.2);
    const item = sharedItem(bytes('x'.repeat(random.below(5))), futures);
    const ids = { first: sharer.got, count: random.pick([0, 3, 100]) ?? 0 };
    sharer.got += ids.count;
    const min = random.below(3);
    const sizeMax = name === 'n0' ? 2 : null;
    const path = ['a', 'b', 'c'].slice(0, 1 + random.below(3));
    const value = random.chance(0.7) ? bytes('m') : null;
    const questions = [
      ask(request, 'lock-acquire', { name, lease, timeoutMs }),
      ask(request, 'lock-release', { name, lease }),
      ask(request, 'semaphore-acquire', { name, lease, timeoutMs, leasesMax }),
      ask(request, 'semaphore-release', { name, lease }),
      ask(request, 'event-set', { name }),
      ask(request, 'event-clear', { name }),
      ask(request, 'event-wait', { name, timeoutMs }),
      ask(request, 'queue-put', { name, item, sizeMax, timeoutMs }),
      ask(request, 'queue-put', { name, item, sizeMax, timeoutMs }),
      ask(request, 'queue-get', { name, min, max: min + 1, timeoutMs, ids }),
      ask(request, 'queue-get', { name, min, max: min + 1, timeoutMs, ids }),
      ask(request, random.chance(0.1) ? 'queue-close' : 'queue-size', { name }),
      ask(request, 'variable-set', { name, item }),
      ask(request, 'variable-get', { name, timeoutMs, ids }),
      ask(request, 'variable-delete', { name }),
      ask(request, 'dataset-publish', { name, item, override: random.chance(0.5) }),
      ask(request, 'dataset-get', { name, ids }),
      ask(request, 'dataset-unpublish', { name }),
      ask(request, 'topic-log', { name, value: item.value }),
      ask(request, random.chance(0.5) ? 'topic-subscribe' : 'topic-unsubscribe', { name }),
      ask(request, 'metadata-set', { path, value }),
    ];
    return random.pick(questions) ?? ask(request, 'dataset-list', null);
  }

  /** Sharers take in what they heard: no request is answered twice. */
  listen(): void {
    for (const { fake, futures, open } of this.sharers) {
      for (const { request, answer } of fake.taken('reply')) {
        expect(open.delete(request), `request ${request} is open`).toBe(true);
        if (typeof answer !== 'object' || answer === null || !('items' in answer)) continue;
        // SAFE: only questions that are answered with received items have this field.
        const { items } = answer as { readonly items: readonly { readonly ids: number[] }[] };
        for (const { ids } of items) for (const id of ids) futures.add(id);
      }
    }
  }
}

test.each(Array.from({ length: SEEDS }, (_, index) => FIRST_SEED + index))(
  'random sharing answers every request once and leaves nothing, seed %i',
  (seed) => {
    const sharing = new RandomSharing(seed);
    for (let step = 0; step < STEPS; step++) sharing.step();
    for (const sharer of [...sharing.sharers]) sharing.leave(sharer);
    const { farm, worker } = sharing;
    const last = farm.client('last');
    for (const name of ['n0', 'n1']) {
      last.say(ask(1, 'variable-delete', { name }), ask(2, 'dataset-unpublish', { name }));
    }
    last.say(ask(3, 'metadata-set', { path: [], value: null }));
    worker.answerStops();
    expect(farm.core.statistics()).toMatchObject({ shared: 0, sharedBytes: 0 });
    farm.expectEmpty();
    expect({ runs: worker.runs, data: worker.data }).toEqual({ runs: [], data: new Set() });
  },
);
