/** Tasks that cannot begin, since others hold what they need and wait. */
import { seceded, type Explanation, type SchedulerInfo } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { SchedulerHarness, amounts } from './scheduler-harness.ts';
import type { FakeClient, FakeWorker } from './scheduler-harness.ts';

class Farm {
  readonly farm = new SchedulerHarness();
  readonly client: FakeClient = this.farm.client('c');
  /** The client of a thread, in which tasks submit. */
  readonly inner: FakeClient = this.farm.client('w/0');

  worker(name: string, gpus: number): FakeWorker {
    const resources = amounts({ GPU: gpus, MEM: 10 });
    return this.farm.worker(name, { nthreads: 4, resources, devices: ['GPU'] });
  }

  submit(key: string, resources: Readonly<Record<string, number>>, parent?: string): number {
    const client = parent === undefined ? this.client : this.inner;
    const from = parent === undefined ? {} : { parent };
    return client.submit({ key, options: { resources: amounts(resources) }, ...from });
  }

  explain(key: string): string {
    const request = this.client.ask('explain', { key });
    // SAFE: that is what the question is answered with.
    return (this.client.answer(request) as Explanation).summary;
  }

  heldUp(client: FakeClient = this.client): readonly string[] {
    // SAFE: as above.
    return (client.answer(client.ask('scheduler-info', null)) as SchedulerInfo).heldUp;
  }
}

function secede(worker: FakeWorker, key: string): void {
  worker.say(seceded(worker.runs.filter((run) => run.key === key).map(({ run }) => run)));
}

describe('a task that needs what its parent holds, which waits for it', () => {
  const HOLDS = 'parent holds that until it ends, and waits for other tasks';
  const SENTENCE =
    `child (submitted from parent) needs GPU=1: ${HOLDS}. ` +
    'Let tasks that wait for others ask for less, or start more workers';

  function deadlock(): Farm & { readonly w: FakeWorker } {
    const farm = new Farm();
    const w = farm.worker('w', 1);
    farm.submit('parent', { GPU: 1 });
    farm.submit('child', { GPU: 1 }, 'parent');
    secede(w, 'parent');
    return Object.assign(farm, { w });
  }

  test('is explained at once', () => {
    const farm = deadlock();
    expect(farm.explain('child')).toBe(
      `child is ready and waits for a worker with 1 thread, GPU=1 free; 1 tasks wait for the same, it is the first of them; ${HOLDS}`,
    );
  });

  test('is warned of once, and both clients are told, after three seconds', () => {
    const farm = deadlock();
    farm.farm.ticks(2_500);
    expect(farm.heldUp()).toEqual([]);
    farm.farm.ticks(10_000);
    expect(farm.farm.logs.filter((line) => line.includes('holds that'))).toEqual([SENTENCE]);
    expect(farm.heldUp()).toEqual([SENTENCE]);
    expect(farm.heldUp(farm.inner)).toEqual([SENTENCE]);
    expect(farm.heldUp(farm.farm.client('other'))).toEqual([]);
  });

  test('is no more held up when another worker joins, and again when that is the same', () => {
    const farm = deadlock();
    farm.farm.ticks(5_000);
    const v = farm.worker('v', 1);
    expect(v.keys()).toEqual(['child']);
    expect(farm.heldUp()).toEqual([]);
    farm.submit('grandchild', { GPU: 1 }, 'child');
    secede(v, 'child');
    farm.farm.ticks(5_000);
    expect(farm.heldUp()).toEqual([
      expect.stringMatching(
        /^grandchild \(submitted from (parent|child)\) needs GPU=1: parent, child hold that until they end, and wait for/,
      ),
    ]);
    expect(farm.farm.logs.filter((line) => line.includes('hold'))).toHaveLength(2);
  });
});

describe('a task is not held up', () => {
  test.each<readonly [string, (farm: Farm, w: FakeWorker) => void]>([
    ['where what runs has what it needs', () => {}],
    [
      'where a run that waits holds something else',
      (farm, w) => {
        farm.submit('mem', { MEM: 5 });
        secede(w, 'mem');
      },
    ],
    [
      'where its holder waits and is given up',
      (farm, w) => {
        secede(w, 'holder');
        farm.client.release(1);
      },
    ],
  ])('%s', (_what, meanwhile) => {
    const farm = new Farm();
    const w = farm.worker('w', 1);
    farm.submit('holder', { GPU: 1 });
    farm.submit('next', { GPU: 1 });
    meanwhile(farm, w);
    farm.farm.ticks(10_000);
    expect(farm.heldUp()).toEqual([]);
    expect(farm.explain('next')).not.toContain('holds');
  });

  test('where runs will end that leave it a device, and is where they leave it parts', () => {
    const farm = new Farm();
    const w = farm.worker('w', 2);
    farm.submit('half', { GPU: 0.5 });
    farm.submit('runs', { GPU: 1 });
    farm.submit('whole', { GPU: 1 });
    secede(w, 'half');
    farm.farm.ticks(5_000);
    expect(farm.heldUp()).toEqual([]);
    farm.submit('two', { GPU: 1.6 });
    farm.farm.ticks(5_000);
    expect(farm.heldUp()).toEqual([expect.stringContaining('two needs GPU=1.6: half holds that')]);
  });

  test('where it needs no more than a slot', () => {
    const farm = new Farm();
    const w = farm.worker('w', 1);
    farm.submit('holder', { GPU: 1 });
    secede(w, 'holder');
    farm.submit('plain', {});
    expect(w.keys()).toEqual(['holder', 'plain']);
  });
});
