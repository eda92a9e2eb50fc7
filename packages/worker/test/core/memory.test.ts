import { free, workerMetrics } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import {
  memoryPolicy,
  WorkerCore,
  type MemoryFractions,
  type WorkerEvent,
  type WorkerInstruction,
} from '../../src/core/index.ts';
import { anInput, aRun, defined, ended, messages, only, placed, said } from './builders.ts';

// Goal: results in memory stay below their share of the limit, the least recently used going
// first; what is in a file comes back before a run that needs it, or is reported lost; resident
// memory pauses and resumes the worker with some distance in between.

const MB = 1_000_000;
const LIMIT = 1_000 * MB;

const METRICS = workerMetrics({
  rssBytes: 1,
  storedBytes: 0,
  cpu: 0,
  loopLagMs: 0,
  executing: 0,
  queued: 0,
  spilledBytes: 0,
  paused: false,
});

interface Tested {
  readonly core: WorkerCore;
  readonly handle: (...events: readonly WorkerEvent[]) => readonly WorkerInstruction[];
  /** Runs end with results of 290 MB, one after the other. */
  readonly make: (...tasks: readonly number[]) => readonly WorkerInstruction[];
}

/** A core with a limit of 1000 MB that is checked after every call. */
function aWorker(nthreads: number = 1, fractions?: MemoryFractions): Tested {
  const memory = memoryPolicy(LIMIT, fractions);
  const core = new WorkerCore({ nthreads, name: 'w', address: 'tcp://me:1', memory });
  const handle: Tested['handle'] = (...events) => {
    const instructions = core.handle(events);
    core.validate();
    return instructions;
  };
  const make: Tested['make'] = (...tasks) =>
    // Of functions that never ran before: nobody knows that the results are large.
    tasks.flatMap((task) =>
      handle(defined(100 + task), said(aRun([task], { fn: 100 + task }))).concat(
        handle(ended([task], { sizeBytes: 290 * MB })),
      ),
    );
  handle(defined(), { kind: 'heartbeat-due', nowMs: 0, metrics: METRICS });
  return { core, handle, make };
}

function sampled(rssBytes: number, nowMs: number = 0, givenUpBytes: number = 0): WorkerEvent {
  return { kind: 'memory-sampled', nowMs, rssBytes, givenUpBytes };
}

/** The first value an instruction of this kind names, and the number of the transfer. */
function begun(
  instructions: readonly WorkerInstruction[],
  kind: 'spill' | 'load',
): { readonly task: number; readonly transfer: number } {
  const [first] = only(instructions, kind);
  expect(first, `a ${kind}`).toBeDefined();
  return { task: first?.task ?? -1, transfer: first?.transfer ?? -1 };
}

function spilled(instructions: readonly WorkerInstruction[]): WorkerEvent {
  return { kind: 'value-spilled', nowMs: 0, ...begun(instructions, 'spill') };
}

function failedSpill(instructions: readonly WorkerInstruction[], nowMs: number = 0): WorkerEvent {
  const reason = 'ENOSPC: no space left on device';
  return { kind: 'spill-failed', nowMs, reason, ...begun(instructions, 'spill') };
}

function loaded(instructions: readonly WorkerInstruction[]): WorkerEvent {
  return { kind: 'value-loaded', nowMs: 0, ...begun(instructions, 'load') };
}

describe('results in memory', () => {
  test('above the target are written, the oldest first, and leave when they are', () => {
    const { make, handle } = aWorker();
    expect(only(make(1, 2), 'spill')).toEqual([]);
    const third = make(3);
    expect(begun(third, 'spill').task).toBe(1);
    expect(only(third, 'evict')).toEqual([]);
    const after = handle(spilled(third));
    expect(only(after, 'evict')).toEqual([{ do: 'evict', task: 1 }]);
    expect(only(after, 'spill')).toEqual([]);
  });

  test('that were used last stay', () => {
    const { make, handle } = aWorker();
    make(1, 2);
    handle(said(aRun([10], { dependencies: [[anInput(1)]] })));
    handle(ended([10], { sizeBytes: 9 }));
    expect(begun(make(3), 'spill').task).toBe(2);
  });

  test('of a worker without a limit are never spilled', () => {
    const core = new WorkerCore({ nthreads: 1, name: 'w', address: null });
    core.handle([defined(), said(aRun([1])), ended([1], { sizeBytes: 1e12 })]);
    expect(only(core.handle([sampled(1e12)]), 'spill')).toEqual([]);
  });

  test('that are small are not worth a file', () => {
    const { handle } = aWorker();
    handle(said(aRun([1])), ended([1], { sizeBytes: 10_000 }));
    expect(only(handle(sampled(750 * MB)), 'spill')).toEqual([]);
  });

  test('that are dropped while they are written are not waited for', () => {
    const { make, handle } = aWorker();
    const first = make(1, 2, 3);
    expect(begun(first, 'spill').task).toBe(1);
    handle(said(free([1])));
    expect(begun(make(4), 'spill').task).toBe(2);
    expect(only(handle(spilled(first)), 'evict')).toEqual([]);
  });

  test('that cannot be written stay, and are tried again after growing waits', () => {
    const { make, handle } = aWorker();
    const failed = handle(failedSpill(make(1, 2, 3)));
    expect(only(failed, 'log')[0]?.message).toContain('ENOSPC');
    expect(only(failed, 'spill')).toEqual([]);
    expect(only(handle(sampled(500 * MB, 999)), 'spill')).toEqual([]);
    const again = handle(sampled(500 * MB, 1_000));
    handle(failedSpill(again, 1_000));
    expect(only(handle(sampled(500 * MB, 2_500)), 'spill')).toEqual([]);
    const third = handle(sampled(500 * MB, 3_000));
    expect(only(handle(spilled(third)), 'evict')).toHaveLength(1);
  });
});

describe('resident memory', () => {
  test('above 70 percent spills until it is below 60', () => {
    const { make, handle } = aWorker();
    make(1, 2);
    expect(only(handle(sampled(690 * MB)), 'spill')).toEqual([]);
    const first = handle(sampled(710 * MB));
    expect(begun(first, 'spill').task).toBe(1);
    handle(spilled(first));
    // The garbage has not been collected yet, or something else has grown.
    const second = handle(sampled(650 * MB));
    expect(begun(second, 'spill').task).toBe(2);
    handle(spilled(second));
    handle(sampled(590 * MB));
    make(3);
    expect(only(handle(sampled(690 * MB)), 'spill')).toEqual([]);
  });

  test('is collected where it is scarce, but not all the time', () => {
    const { handle } = aWorker();
    expect(only(handle(sampled(750 * MB, 5_000)), 'collect')).toHaveLength(1);
    expect(only(handle(sampled(750 * MB, 5_200)), 'collect')).toHaveLength(0);
    expect(only(handle(sampled(750 * MB, 6_000)), 'collect')).toHaveLength(1);
  });

  test('above 80 percent pauses the worker, which tells so and hands back what has not started', () => {
    const { handle } = aWorker();
    handle(said(aRun([1])));
    handle(said(aRun([2, 3])), said(aRun([4], { dependencies: [[anInput(9)]] })));
    const paused = handle(sampled(810 * MB));
    expect(messages(paused)).toEqual([
      {
        op: 'worker-heartbeat',
        metrics: { ...METRICS, paused: true },
        executing: [1],
      },
      { op: 'stopped', runs: [2, 3, 4], kept: [] },
    ]);
  });

  test('takes back what waits in a slot behind a run', () => {
    const { handle } = aWorker();
    handle(said(aRun([1, 2, 3], { expectedUs: 10 })));
    const paused = handle(sampled(810 * MB));
    expect(only(paused, 'withdraw')).toEqual([{ do: 'withdraw', slot: 0, runs: [2, 3] }]);
    const withdrawn = handle({
      kind: 'runs-withdrawn',
      nowMs: 0,
      slot: 0,
      withdrawn: [2, 3],
      started: [],
    });
    expect(messages(withdrawn)).toEqual([{ op: 'stopped', runs: [2, 3], kept: [] }]);
    expect(placed(withdrawn)).toEqual([]);
  });

  test('lets runs go on, and returns those that were on their way', () => {
    const { handle } = aWorker(2);
    handle(said(aRun([1])));
    handle(sampled(810 * MB));
    const late = handle(said(aRun([2])));
    expect(placed(late)).toEqual([]);
    expect(messages(late)).toEqual([{ op: 'stopped', runs: [2], kept: [] }]);
    expect(messages(handle(ended([1])))).toMatchObject([{ op: 'finished', runs: [1] }]);
  });

  test('resumes it well below what paused it', () => {
    const { handle } = aWorker();
    handle(sampled(810 * MB));
    expect(messages(handle(sampled(790 * MB)))).toEqual([]);
    expect(messages(handle(sampled(730 * MB)))).toEqual([]);
    expect(messages(handle(sampled(710 * MB)))).toMatchObject([{ metrics: { paused: false } }]);
    expect(placed(handle(said(aRun([2]))))).toEqual([[0, [2]]]);
  });
});

describe('large results', () => {
  test('are spilled before the next one is made', () => {
    const { handle } = aWorker();
    handle(said(aRun([1, 2])));
    const first = handle(ended([1], { sizeBytes: 300 * MB }));
    expect(begun(first, 'spill').task).toBe(1);
    expect(placed(first)).toEqual([]);
    const after = handle(spilled(first));
    expect(only(after, 'evict')).toHaveLength(1);
    expect(placed(after)).toEqual([[0, [2]]]);
  });

  test('that a run here needs do not go for one that is next', () => {
    const { handle } = aWorker();
    handle(said(aRun([1])), said(aRun([2], { dependencies: [[anInput(1)]] })));
    const after = handle(ended([1], { sizeBytes: 290 * MB }), {
      kind: 'input-fetched',
      nowMs: 0,
      task: 1,
      sizeBytes: 290 * MB,
    });
    expect(only(after, 'spill')).toEqual([]);
    expect(placed(after)).toEqual([[0, [2]]]);
  });

  test('wait for those that were given up to leave the memory, but not for ever', () => {
    const { handle } = aWorker();
    handle(sampled(100 * MB, 0), said(aRun([1])));
    handle(ended([1], { sizeBytes: 300 * MB }));
    handle(said(free([1])));
    // What is being sent to somebody is still there.
    handle(sampled(400 * MB, 200));
    expect(placed(handle(said(aRun([2]))))).toEqual([]);
    expect(only(handle(sampled(400 * MB, 400)), 'collect')).toHaveLength(1);
    expect(placed(handle(sampled(100 * MB, 600)))).toEqual([[0, [2]]]);
    handle(ended([2], { sizeBytes: 300 * MB }), said(free([2])));
    handle(sampled(400 * MB, 800), said(aRun([3])));
    // Samples come five times a second: 10 s.
    const later = Array.from({ length: 50 }, (_, index) =>
      placed(handle(sampled(400 * MB, 1_000 + 200 * index))),
    );
    expect(later.slice(0, 49)).toEqual(Array.from({ length: 49 }, () => []));
    expect(later.at(-1)).toEqual([[0, [3]]]);
  });

  test('wait for a spilled one that is still being sent to leave the memory', () => {
    const { handle } = aWorker();
    handle(sampled(100 * MB, 0), said(aRun([1, 2])));
    const first = handle(ended([1], { sizeBytes: 300 * MB }));
    // The last sample is from before the result, and knows nothing of who sends it.
    const evicted = handle(spilled(first));
    expect(only(evicted, 'evict')).toHaveLength(1);
    expect(placed(evicted)).toEqual([]);
    const sent = handle(sampled(400 * MB, 200, 300 * MB));
    expect(placed(sent)).toEqual([]);
    expect(only(sent, 'collect')).toHaveLength(1);
    expect(placed(handle(sampled(100 * MB, 400)))).toEqual([[0, [2]]]);
  });

  test('wait for as long as others are still being sent, however long that is', () => {
    const { handle } = aWorker();
    handle(sampled(100 * MB, 0), said(aRun([1])));
    handle(ended([1], { sizeBytes: 300 * MB }), said(free([1])), said(aRun([2])));
    const later = Array.from({ length: 500 }, (_, index) =>
      handle(sampled(400 * MB, 200 + 200 * index, 300 * MB)),
    );
    expect(later.flatMap((instructions) => placed(instructions))).toEqual([]);
    expect(later.flatMap((instructions) => only(instructions, 'collect'))).toHaveLength(500);
    // Told once.
    expect(later.flatMap((instructions) => only(instructions, 'log'))).toMatchObject([
      { level: 'info', message: expect.stringContaining('286 MiB of values') as string },
    ]);
    expect(placed(handle(sampled(100 * MB, 200_000)))).toEqual([[0, [2]]]);
  });

  test('wait for a little garbage where they would have the worker killed', () => {
    const { handle } = aWorker();
    handle(sampled(300 * MB, 0), said(aRun([1])));
    handle(ended([1], { sizeBytes: 320 * MB }), said(free([1])));
    // The result is expected to take 640 MB, and at 950 MB the nanny kills.
    handle(sampled(330 * MB, 200), said(aRun([2])));
    expect(only(handle(sampled(330 * MB, 400)), 'collect')).toHaveLength(1);
    expect(placed(handle(sampled(305 * MB, 600)))).toEqual([[0, [2]]]);
  });

  test('wait for that beside a run in another slot, too', () => {
    const { handle } = aWorker(2);
    handle(sampled(100 * MB, 0), said(aRun([1])));
    handle(ended([1], { sizeBytes: 300 * MB }), said(free([1])));
    handle(defined(3), said(aRun([3], { fn: 3 })));
    expect(placed(handle(said(aRun([2])), sampled(400 * MB, 200, 300 * MB)))).toEqual([]);
    expect(placed(handle(sampled(110 * MB, 400)))).toEqual([[1, [2]]]);
  });

  test('do not wait for what leaves the memory where there is room beside it', () => {
    const { handle } = aWorker();
    handle(sampled(50 * MB, 0), said(aRun([1, 2])));
    expect(placed(handle(ended([1], { sizeBytes: 250 * MB }), said(free([1]))))).toEqual([
      [0, [2]],
    ]);
  });

  test('that cannot be spilled pause the worker while another has no room beside them', () => {
    const { handle } = aWorker();
    handle(said(aRun([1, 2])));
    const first = handle(ended([1], { sizeBytes: 300 * MB }));
    const paused = handle(failedSpill(first));
    expect(placed(paused)).toEqual([]);
    expect(messages(paused)).toMatchObject([
      { op: 'worker-heartbeat', metrics: { paused: true } },
      { op: 'stopped', runs: [2] },
    ]);
    expect(only(paused, 'log').at(-1)?.message).toContain('free disk space');
    const released = handle(said(free([1])));
    expect(messages(released)).toMatchObject([{ metrics: { paused: false } }]);
    expect(placed(handle(said(aRun([2]))))).toEqual([[0, [2]]]);
  });

  test('are spilled as soon as the disk has room again, though they are below the target', () => {
    const { handle } = aWorker();
    handle(said(aRun([1, 2])));
    handle(failedSpill(handle(ended([1], { sizeBytes: 300 * MB }))));
    expect(only(handle(sampled(350 * MB, 999)), 'spill')).toEqual([]);
    const again = handle(sampled(350 * MB, 1_000));
    expect(begun(again, 'spill').task).toBe(1);
    const resumed = handle(spilled(again));
    expect(only(resumed, 'evict')).toHaveLength(1);
    expect(messages(resumed)).toMatchObject([{ metrics: { paused: false } }]);
  });

  test('are spilled then where only resident memory makes a worker spill, too', () => {
    const { handle } = aWorker(1, { target: 0, spill: 0.7, pause: 0.8, terminate: 0.95 });
    handle(said(aRun([1, 2])));
    handle(ended([1], { sizeBytes: 300 * MB }));
    const paused = handle(failedSpill(handle(sampled(720 * MB))));
    expect(messages(paused)).toMatchObject([{ metrics: { paused: true } }]);
    handle(ended([2], { sizeBytes: 300 * MB }));
    expect(begun(handle(sampled(620 * MB, 1_000)), 'spill').task).toBe(1);
  });

  test('that cannot be spilled keep the worker paused while another one is being made', () => {
    const { handle } = aWorker(2);
    handle(said(aRun([1])));
    handle(ended([1], { sizeBytes: 200 * MB }), said(free([1])));
    handle(defined(3), said(aRun([3], { fn: 3 })));
    handle(ended([3], { sizeBytes: 150 * MB }));
    handle(failedSpill(handle(sampled(720 * MB))));
    handle(said(aRun([4])));
    const paused = handle(said(aRun([5])));
    expect(messages(paused)).toMatchObject([
      { op: 'worker-heartbeat', metrics: { paused: true } },
      { op: 'stopped', runs: [5] },
    ]);
    expect(messages(handle(sampled(300 * MB, 200)))).toEqual([]);
    const done = handle(ended([4], { sizeBytes: 200 * MB }), said(free([4])));
    expect(messages(done).at(-1)).toMatchObject({ metrics: { paused: false } });
  });
});

describe('a spilled input', () => {
  test('is loaded before the run that needs it', () => {
    const { make, handle } = aWorker();
    handle(spilled(make(1, 2, 3)));
    const asked = handle(said(aRun([10], { dependencies: [[anInput(1)]] })));
    expect(placed(asked)).toEqual([]);
    expect(only(asked, 'fetch')).toEqual([]);
    expect(begun(asked, 'load').task).toBe(1);
    const there = handle(loaded(asked));
    expect(placed(there)).toEqual([[0, [10]]]);
  });

  test('needs no second file when it leaves again', () => {
    const { make, handle } = aWorker();
    handle(spilled(make(1, 2, 3)));
    const asked = handle(said(aRun([10], { dependencies: [[anInput(1)]] })));
    // The others are older, and are written.
    const there = handle(loaded(asked));
    expect(begun(there, 'spill').task).toBe(2);
    handle(spilled(there));
    handle(ended([10], { sizeBytes: 9 }));
    const more = make(4);
    expect(begun(more, 'spill').task).toBe(3);
    handle(spilled(more));
    const last = make(5);
    expect(only(last, 'evict')).toEqual([{ do: 'evict', task: 1 }]);
    expect(only(last, 'spill')).toEqual([]);
  });

  test('of a second run is loaded when there is room', () => {
    const { make, handle } = aWorker(2);
    const first = make(1, 2, 3, 4);
    const second = handle(spilled(first));
    handle(spilled(second));
    const asked = handle(
      said(aRun([10, 11], { dependencies: [[anInput(1)], [anInput(2)]], expectedUs: 1e6 })),
    );
    expect(only(asked, 'load')).toHaveLength(1);
    const there = handle(loaded(asked));
    expect(placed(there)).toEqual([[0, [10]]]);
    // Two loaded ones and two others: something has to go before the next one comes.
    expect(only(there, 'load')).toEqual([]);
    const after = handle(ended([10], { sizeBytes: 9 }));
    expect(only(after, 'load')).toHaveLength(1);
    expect(placed(handle(loaded(after)))).toEqual([[0, [11]]]);
  });

  test('whose file is damaged is reported lost, and so is the run', () => {
    const { make, handle, core } = aWorker();
    handle(spilled(make(1, 2, 3)));
    handle(said(aRun([10], { dependencies: [[anInput(1)]] })));
    const lost = handle({ kind: 'value-lost', nowMs: 0, task: 1, reason: 'its checksum is wrong' });
    expect(messages(lost)).toEqual([
      { op: 'input-missing', run: 10, task: 1, holders: [] },
      { op: 'lost', tasks: [1] },
    ]);
    expect(only(lost, 'drop')).toEqual([{ do: 'drop', tasks: [1] }]);
    expect(core.counts()).toMatchObject({ runs: 0, data: 2 });
  });

  test('that nobody uses here is reported lost, too', () => {
    const { make, handle } = aWorker();
    handle(spilled(make(1, 2, 3)));
    const lost = handle({ kind: 'value-lost', nowMs: 0, task: 1, reason: 'it is gone' });
    expect(messages(lost)).toEqual([{ op: 'lost', tasks: [1] }]);
  });

  test('that was freed is dropped with its file', () => {
    const { make, handle, core } = aWorker();
    handle(spilled(make(1, 2, 3)));
    expect(only(handle(said(free([1, 2, 3]))), 'drop')).toEqual([{ do: 'drop', tasks: [1, 2, 3] }]);
    expect(core.counts()).toMatchObject({ data: 0 });
  });

  test('counts as held: a copy that is asked for is there', () => {
    const { make, handle } = aWorker();
    handle(spilled(make(1, 2, 3)));
    const asked = handle(said({ op: 'acquire', task: 1, size: 300 * MB, holders: [] }));
    expect(messages(asked)).toEqual([{ op: 'holding', tasks: [1] }]);
  });

  test('is told in heartbeats', () => {
    const { make, handle } = aWorker();
    handle(spilled(make(1, 2, 3)));
    const beat = handle({ kind: 'heartbeat-due', nowMs: 1, metrics: METRICS });
    expect(messages(beat)).toMatchObject([{ metrics: { spilledBytes: 290 * MB } }]);
  });
});
