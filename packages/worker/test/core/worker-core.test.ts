import { acquire, failure, free, putData, stop, workerMetrics } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { WorkerCore, type WorkerEvent, type WorkerInstruction } from '../../src/core/index.ts';
import {
  aFailure,
  anInlineInput,
  anInput,
  aRun,
  defined,
  ended,
  messages,
  only,
  placed,
  said,
} from './builders.ts';

const IDLE = { runs: 0, ready: 0, slotted: 0, data: 0 };

/** A core that is checked after every call, with function 1 defined. */
function aWorker(nthreads: number = 2): {
  readonly core: WorkerCore;
  readonly handle: (...events: readonly WorkerEvent[]) => readonly WorkerInstruction[];
} {
  const core = new WorkerCore({ nthreads, name: 'w', address: 'tcp://me:1' });
  const handle = (...events: readonly WorkerEvent[]): readonly WorkerInstruction[] => {
    const instructions = core.handle(events);
    core.validate();
    return instructions;
  };
  handle(defined());
  return { core, handle };
}

describe('a run', () => {
  test('goes to a slot as it came, with its key, arguments and attempt', () => {
    const { handle } = aWorker();
    const instructions = handle(
      said(
        aRun([4, 5], {
          key: 'square',
          indices: [10, 11],
          args: new Uint8Array([1, 2, 3]),
          ends: [1, 3],
          attempts: [1, 3],
          resources: [['GPU', 1]],
        }),
      ),
    );
    const [first, second] = only(instructions, 'execute');
    expect(first).toMatchObject({
      slot: 0,
      fn: 1,
      runs: [{ run: 4, task: 4, key: 'square-10', attempt: 1, resources: [['GPU', 1]] }],
    });
    expect(second?.runs[0]).toMatchObject({ key: 'square-11', attempt: 3 });
    expect([...(second?.runs[0]?.args ?? [])]).toEqual([2, 3]);
  });

  test('of a block of one has the key of the block', () => {
    const { handle } = aWorker();
    const [execute] = only(handle(said(aRun([4], { key: 'sum-1f' }))), 'execute');
    expect(execute?.runs[0]?.key).toBe('sum-1f');
  });

  test('of a function that was never defined fails', () => {
    const { handle } = aWorker();
    const instructions = handle(said(aRun([4], { fn: 99 })));
    expect(messages(instructions)).toMatchObject([
      { op: 'run-failed', run: 4, failure: { code: 'ERR_INTERNAL', worker: 'w' } },
    ]);
  });

  test('that takes more slots than there are fails', () => {
    const { handle } = aWorker(2);
    expect(messages(handle(said(aRun([4], { threads: 3 }))))).toMatchObject([
      { op: 'run-failed', run: 4, failure: { code: 'ERR_NO_WORKER' } },
    ]);
  });

  test('given twice executes once', () => {
    const { core, handle } = aWorker();
    handle(said(aRun([4])));
    expect(placed(handle(said(aRun([4]))))).toEqual([]);
    expect(core.counts().stray).toBe(1);
  });
});

describe('inputs', () => {
  test('are fetched before the run, once for all runs that need them', () => {
    const { handle } = aWorker();
    const asked = handle(
      said(aRun([4, 5], { dependencies: [[anInput(1), anInput(2)], [anInput(1)]] })),
    );
    expect(only(asked, 'fetch').map(({ task }) => task)).toEqual([1, 2]);
    expect(placed(asked)).toEqual([]);

    const first = handle({ kind: 'input-fetched', nowMs: 1, task: 1, sizeBytes: 100 });
    expect(placed(first)).toEqual([[0, [5]]]);
    expect(messages(first)).toEqual([{ op: 'holding', tasks: [1] }]);
    const second = handle({ kind: 'input-fetched', nowMs: 2, task: 2, sizeBytes: 100 });
    expect(only(second, 'execute')[0]?.runs[0]?.inputs).toEqual([1, 2]);
  });

  test('are never fetched from the worker itself', () => {
    const { handle } = aWorker();
    const holders = ['tcp://me:1', 'tcp://peer:1'];
    const [fetch] = only(
      handle(said(aRun([4], { dependencies: [[anInput(1, holders)]] }))),
      'fetch',
    );
    expect(fetch?.holders).toEqual(['tcp://peer:1']);
  });

  test('that came with the message are kept unannounced and dropped with the last run', () => {
    const { core, handle } = aWorker();
    const dependencies = [[anInlineInput(1)], [anInlineInput(1)]];
    const instructions = handle(said(aRun([4, 5], { dependencies })));
    expect(only(instructions, 'keep').map(({ task }) => task)).toEqual([1]);
    expect(placed(instructions)).toEqual([
      [0, [4]],
      [1, [5]],
    ]);
    expect(messages(instructions)).toEqual([]);
    expect(only(handle(ended([4])), 'drop')).toEqual([]);
    expect(only(handle(ended([5])), 'drop')).toEqual([{ do: 'drop', tasks: [1] }]);
    handle(said(free([4, 5])));
    expect(core.counts()).toMatchObject(IDLE);
  });

  test('named several times by a run count once', () => {
    const { core, handle } = aWorker();
    const dependencies = [[anInput(1), anInput(2), anInput(1), anInlineInput(2)]];
    expect(placed(handle(said(aRun([4], { dependencies }))))).toEqual([]);
    const instructions = handle({ kind: 'input-fetched', nowMs: 1, task: 1, sizeBytes: 100 });
    expect(only(instructions, 'execute')[0]?.runs[0]?.inputs).toEqual([1, 2, 1, 2]);
    handle(ended([4]), said(free([1, 4])));
    handle({ kind: 'input-fetched', nowMs: 1, task: 2, sizeBytes: 100 });
    expect(core.counts()).toMatchObject(IDLE);
  });

  test('made by the worker itself are there already', () => {
    const { handle } = aWorker();
    handle(said(aRun([4])));
    handle(ended([4]));
    const instructions = handle(said(aRun([5], { dependencies: [[anInput(4)]] })));
    expect(only(instructions, 'fetch')).toEqual([]);
    expect(placed(instructions)).toEqual([[0, [5]]]);
  });

  test('that cannot be had give up every run that waits for them', () => {
    const { core, handle } = aWorker();
    const dependencies = [[anInput(1), anInput(2)], [anInput(1)], [anInput(2)]];
    handle(said(aRun([4, 5, 6], { dependencies })));
    const holders = ['tcp://peer:1'];
    const instructions = handle({ kind: 'input-failed', nowMs: 1, task: 1, holders, reason: 'x' });
    expect(messages(instructions)).toEqual([
      { op: 'input-missing', run: 4, task: 1, holders },
      { op: 'input-missing', run: 5, task: 1, holders },
    ]);
    // Another run may ask for it again.
    const again = handle(said(aRun([7], { dependencies: [[anInput(1)]] })));
    expect(only(again, 'fetch').map(({ task }) => task)).toEqual([1]);
    expect(core.counts()).toMatchObject({ runs: 2, data: 2 });
  });

  test('that arrive when nobody needs them any more are dropped, not announced', () => {
    const { core, handle } = aWorker();
    handle(said(aRun([4], { dependencies: [[anInput(1)]] })));
    handle(said(stop([4], true)));
    const instructions = handle({ kind: 'input-fetched', nowMs: 1, task: 1, sizeBytes: 100 });
    expect(instructions).toEqual([{ do: 'drop', tasks: [1] }]);
    expect(core.counts()).toMatchObject(IDLE);
  });

  describe('that are large', () => {
    const sizeBytes = 16_777_216;
    const arrived = { kind: 'input-fetched', nowMs: 1, task: 1, sizeBytes } as const;
    const own = 'tcp://me:1';

    test('move with the one run that needs them, unannounced', () => {
      const { core, handle } = aWorker(1);
      handle(said(aRun([4], { dependencies: [[anInput(1)]] })));
      const instructions = handle(arrived);
      expect(only(instructions, 'execute')[0]?.runs[0]).toMatchObject({ inputs: [1], moved: [1] });
      expect(messages(instructions)).toEqual([]);
      expect(only(handle(ended([4])), 'drop')).toEqual([]);
      expect(core.counts()).toMatchObject({ runs: 0, data: 1 });
    });

    test('stay where two runs need them, or one twice', () => {
      for (const run of [
        aRun([4, 5], { dependencies: [[anInput(1)], [anInput(1)]] }),
        aRun([4], { dependencies: [[anInput(1), anInput(1)]] }),
      ]) {
        const { handle } = aWorker(1);
        handle(said(run));
        const instructions = handle(arrived);
        expect(only(instructions, 'execute')[0]?.runs[0]?.moved).toBeUndefined();
        expect(messages(instructions)).toEqual([{ op: 'holding', tasks: [1] }]);
      }
    });

    test('stay where another run comes to need them before the first one has a slot', () => {
      const { handle } = aWorker(1);
      handle(said(aRun([3])));
      handle(said(aRun([4], { dependencies: [[anInput(1)]] })));
      expect(messages(handle(arrived))).toEqual([]);
      const told = handle(said(aRun([5], { dependencies: [[anInput(1)]] })));
      expect(messages(told)).toEqual([{ op: 'holding', tasks: [1] }]);
      const next = handle(ended([3], { durationUs: 1_000_000 }));
      expect(only(next, 'execute')[0]?.runs[0]).toMatchObject({ run: 4, inputs: [1] });
      expect(only(next, 'execute')[0]?.runs[0]?.moved).toBeUndefined();
    });

    test('are fetched again for another run, and kept then', () => {
      const { handle } = aWorker(2);
      handle(said(aRun([4], { dependencies: [[anInput(1)]] })));
      handle(arrived);
      const again = handle(said(aRun([5], { dependencies: [[anInput(1, [own, 'tcp://b:1'])]] })));
      expect(only(again, 'fetch')).toMatchObject([{ task: 1, holders: ['tcp://b:1'] }]);
      const instructions = handle(arrived);
      expect(placed(instructions)).toEqual([[1, [5]]]);
      expect(messages(instructions)).toEqual([{ op: 'holding', tasks: [1] }]);
    });

    test('are fetched again where the run comes back unstarted', () => {
      const { handle } = aWorker(1);
      handle(said(aRun([4], { dependencies: [[anInput(1)]] })));
      handle(arrived);
      const back = handle({
        kind: 'slot-emptied',
        nowMs: 2,
        slot: 0,
        failed: null,
        unstarted: [4],
      });
      expect(only(back, 'fetch')).toMatchObject([{ task: 1, holders: ['tcp://peer:1'] }]);
      expect(only(handle(arrived), 'execute')[0]?.runs[0]).toMatchObject({ moved: [1] });
    });

    test('are kept and announced where the scheduler hands the value over', () => {
      const { handle } = aWorker(1);
      handle(said(aRun([3])));
      handle(said(aRun([4], { dependencies: [[anInput(1)]] })));
      handle(arrived);
      const given = handle(said(putData([1], new Uint8Array([7]), [1])));
      expect(messages(given)).toEqual([{ op: 'holding', tasks: [1] }]);
      const next = handle(ended([3], { durationUs: 1_000_000 }));
      expect(only(next, 'execute')[0]?.runs[0]?.moved).toBeUndefined();
    });

    test('are kept and announced where the scheduler asks for a copy', () => {
      const { handle } = aWorker(1);
      handle(said(aRun([3])));
      handle(said(aRun([4], { dependencies: [[anInput(1)]] })));
      handle(arrived);
      const asked = handle(said(acquire(1, sizeBytes, [])));
      expect(messages(asked)).toEqual([{ op: 'holding', tasks: [1] }]);
      const next = handle(ended([3], { durationUs: 1_000_000 }));
      expect(only(next, 'execute')[0]?.runs[0]?.moved).toBeUndefined();
    });
  });

  test('stay while a run needs them, though the scheduler freed them', () => {
    const { handle } = aWorker(1);
    handle(said(aRun([4])));
    handle(ended([4]));
    handle(said(aRun([5], { dependencies: [[anInput(4)]] })));
    expect(only(handle(said(free([4]))), 'drop')).toEqual([]);
    expect(only(handle(ended([5])), 'drop')).toEqual([{ do: 'drop', tasks: [4] }]);
  });

  test('dropped and given anew in one batch of events are there for the new run', () => {
    const { handle } = aWorker(1);
    handle(said(aRun([4], { dependencies: [[anInlineInput(1)]] })));
    const instructions = handle(
      ended([4]),
      said(aRun([5], { dependencies: [[anInlineInput(1)]] })),
    );
    const order = instructions.flatMap((instruction) =>
      instruction.do === 'to-scheduler' ? [] : [instruction.do],
    );
    expect(order).toEqual(['drop', 'keep', 'execute']);
  });
});

describe('copies', () => {
  test('that are asked for are fetched, announced and kept until freed', () => {
    const { core, handle } = aWorker();
    const asked = handle(said(acquire(1, 100, ['tcp://me:1', 'tcp://peer:1'])));
    expect(only(asked, 'fetch')).toMatchObject([{ task: 1, holders: ['tcp://peer:1'] }]);
    const arrived = handle({ kind: 'input-fetched', nowMs: 1, task: 1, sizeBytes: 100 });
    expect(messages(arrived)).toEqual([{ op: 'holding', tasks: [1] }]);
    expect(messages(handle(said(acquire(1, 100, []))))).toEqual([{ op: 'holding', tasks: [1] }]);
    expect(only(handle(said(free([1]))), 'drop')).toEqual([{ do: 'drop', tasks: [1] }]);
    expect(core.counts()).toMatchObject(IDLE);
  });

  test('that cannot be had are told, and leave nothing', () => {
    const { core, handle } = aWorker();
    handle(said(acquire(1, 100, ['tcp://peer:1'])));
    const holders = ['tcp://peer:1'];
    const failed = handle({ kind: 'input-failed', nowMs: 1, task: 1, holders, reason: 'gone' });
    expect(messages(failed)).toEqual([{ op: 'acquire-failed', task: 1, holders }]);
    expect(core.counts()).toMatchObject(IDLE);
  });

  test('are fetched once, with a run that needs the same input', () => {
    const { handle } = aWorker();
    handle(said(aRun([5], { dependencies: [[anInput(1)]] })));
    expect(handle(said(acquire(1, 100, ['tcp://peer:1'])))).toEqual([]);
    const arrived = handle({ kind: 'input-fetched', nowMs: 1, task: 1, sizeBytes: 100 });
    expect(placed(arrived)).toEqual([[0, [5]]]);
    expect(messages(arrived)).toEqual([{ op: 'holding', tasks: [1] }]);
  });

  test('that come with a run before they are fetched are announced', () => {
    const { core, handle } = aWorker();
    handle(said(acquire(1, 1, ['tcp://peer:1'])));
    const given = handle(said(aRun([5], { dependencies: [[anInlineInput(1)]] })));
    expect(messages(given)).toEqual([{ op: 'holding', tasks: [1] }]);
    // The fetch that was under way ends later, and changes nothing.
    expect(handle({ kind: 'input-fetched', nowMs: 1, task: 1, sizeBytes: 1 })).toEqual([]);
    handle(ended([5]), said(free([5])));
    expect(core.counts()).toMatchObject({ ...IDLE, data: 1 });
    handle(said(free([1])));
    expect(core.counts()).toMatchObject(IDLE);
  });

  test('of values that are handed over are kept and announced, for runs that waited too', () => {
    const { core, handle } = aWorker();
    handle(said(aRun([5], { dependencies: [[anInput(1)]] })));
    const given = handle(said(putData([1, 2], new Uint8Array([7, 8, 9]), [1, 3])));
    expect(only(given, 'keep')).toEqual([
      { do: 'keep', task: 1, value: new Uint8Array([7]) },
      { do: 'keep', task: 2, value: new Uint8Array([8, 9]) },
    ]);
    expect(messages(given)).toEqual([{ op: 'holding', tasks: [1, 2] }]);
    expect(placed(given)).toEqual([[0, [5]]]);
    // The fetch that was under way ends later, and changes nothing.
    handle({ kind: 'input-fetched', nowMs: 1, task: 1, sizeBytes: 1 });
    handle(ended([5]), said(free([1, 2, 5])));
    expect(core.counts()).toMatchObject(IDLE);
  });
});

describe('results', () => {
  test('of one call leave in one message, small values inside', () => {
    const { handle } = aWorker(2);
    handle(said(aRun([4, 5, 6])));
    const instructions = handle(
      ended([4], { value: Uint8Array.of(1, 2), sizeBytes: 2, durationUs: 10 }),
      ended([5], { sizeBytes: 5_000, durationUs: 20 }),
    );
    expect(messages(instructions)).toEqual([
      {
        op: 'finished',
        runs: [4, 5],
        sizes: [2, 5_000],
        values: Uint8Array.of(1, 2),
        ends: [2, 2],
        durationsUs: [10, 20],
      },
    ]);
    expect(placed(instructions)).toEqual([[0, [6]]]);
  });

  test('of too many bytes for one message leave in several', () => {
    const { handle } = aWorker(1);
    const runs = Array.from({ length: 200 }, (_, index) => index + 1);
    handle(said(aRun(runs, { expectedUs: 1 })));
    // What one slot can hold is far below the bound: the values here are larger than real ones.
    const large = new Uint8Array(400_000);
    const sent = messages(handle(ended(runs, { value: large, sizeBytes: large.byteLength })));
    expect(sent.length).toBeGreaterThan(1);
    expect(sent.flatMap((message) => (message.op === 'finished' ? message.runs : []))).toEqual(
      runs,
    );
  });

  test('are dropped when freed, and then nothing is left', () => {
    const { core, handle } = aWorker();
    handle(said(aRun([4, 5])));
    handle(ended([4, 5]));
    expect(handle(said(free([4, 5, 77])))).toEqual([{ do: 'drop', tasks: [4, 5] }]);
    expect(core.counts()).toMatchObject(IDLE);
  });

  test('of unknown runs are counted and dropped', () => {
    const { core, handle } = aWorker();
    expect(messages(handle(ended([99])))).toEqual([]);
    expect(
      messages(
        handle({ kind: 'run-erred', nowMs: 0, run: 98, failure: aFailure(), durationUs: 1 }),
      ),
    ).toEqual([]);
    expect(core.counts().stray).toBe(2);
  });
});

describe('failures', () => {
  test('are told with the name of the worker; the slot goes on', () => {
    const { handle } = aWorker(1);
    handle(said(aRun([4, 5])));
    const instructions = handle({
      kind: 'run-erred',
      nowMs: 3,
      run: 4,
      failure: aFailure('f-4'),
      durationUs: 70,
    });
    expect(messages(instructions)).toEqual([
      { op: 'run-failed', run: 4, failure: { ...aFailure('f-4'), worker: 'w' }, durationUs: 70 },
    ]);
    expect(placed(instructions)).toEqual([[0, [5]]]);
  });

  test('that empty a slot requeue what had not started, before what came later', () => {
    const { handle } = aWorker(1);
    handle(said(aRun([4, 5, 6], { expectedUs: 100 })));
    handle(said(aRun([7], { expectedUs: 1e6 })));
    const instructions = handle({
      kind: 'slot-emptied',
      nowMs: 5,
      slot: 0,
      failed: { run: 4, failure: aFailure('f-4') },
      unstarted: [5, 6],
    });
    expect(messages(instructions)).toMatchObject([{ op: 'run-failed', run: 4, durationUs: 5_000 }]);
    expect(placed(instructions)).toEqual([[0, [5, 6]]]);
  });
});

describe('a run that waits for others', () => {
  const seceded = (run: number): WorkerEvent => ({ kind: 'run-seceded', nowMs: 1, run });

  test('leaves its slot, is told, and ends without one', () => {
    const { core, handle } = aWorker(1);
    handle(said(aRun([4])), said(aRun([5])));
    const instructions = handle(seceded(4));
    expect(messages(instructions)).toEqual([{ op: 'seceded', runs: [4] }]);
    expect(placed(instructions)).toEqual([[0, [5]]]);
    expect(messages(handle(ended([4])))).toMatchObject([{ op: 'finished', runs: [4] }]);
    expect(core.counts()).toMatchObject({ runs: 1, slotted: 1 });
    expect(messages(handle(ended([5])))).toMatchObject([{ op: 'finished', runs: [5] }]);
    expect(core.counts()).toMatchObject({ runs: 0, slotted: 0, stray: 0 });
  });

  test('is not given again when its slot is emptied, and may fail there', () => {
    const { core, handle } = aWorker(1);
    handle(said(aRun([4])), said(aRun([5])));
    handle(seceded(4));
    const instructions = handle(
      { kind: 'run-erred', nowMs: 2, run: 4, failure: aFailure('f-4'), durationUs: 9 },
      {
        kind: 'slot-emptied',
        nowMs: 2,
        slot: 0,
        failed: { run: 5, failure: aFailure('f-5') },
        unstarted: [],
      },
    );
    expect(messages(instructions)).toMatchObject([
      { op: 'run-failed', run: 4 },
      { op: 'run-failed', run: 5 },
    ]);
    expect(core.counts()).toMatchObject({ runs: 0, stray: 0 });
  });

  test('is interrupted where it is, before and after it seceded', () => {
    const { handle } = aWorker(1);
    handle(said(aRun([4])));
    handle(seceded(4));
    const first = only(handle(said(stop([4], true)), said(stop([4], true))), 'interrupt');
    expect(first).toMatchObject([{ slot: 0, run: 4 }]);
    handle(said(aRun([5])));
    handle(said(stop([5], true)));
    expect(only(handle(seceded(5)), 'interrupt')).toMatchObject([{ slot: 0, run: 5 }]);
    const late = handle({
      kind: 'runs-withdrawn',
      nowMs: 2,
      slot: 0,
      withdrawn: [],
      started: [5],
    });
    expect(only(late, 'interrupt')).toEqual([]);
  });

  test('is kept where only an unstarted one is wanted back', () => {
    const { handle } = aWorker(1);
    handle(said(aRun([4])));
    handle(seceded(4));
    expect(messages(handle(said(stop([4], false))))).toEqual([
      { op: 'stopped', runs: [], kept: [4] },
    ]);
  });
});

describe('stop', () => {
  test('drops runs that wait for inputs or a slot at once', () => {
    const { core, handle } = aWorker(1);
    handle(said(aRun([4])));
    handle(said(aRun([5])), said(aRun([6], { dependencies: [[anInput(1)]] })));
    expect(messages(handle(said(stop([5, 6], false))))).toEqual([
      { op: 'stopped', runs: [5, 6], kept: [] },
    ]);
    expect(core.counts()).toMatchObject({ runs: 1, ready: 0 });
  });

  test('of a run that ends by itself on being told is answered stopped', () => {
    const { core, handle } = aWorker(1);
    handle(said(aRun([4])));
    handle(said(stop([4], true)));
    handle({ kind: 'runs-withdrawn', nowMs: 1, slot: 0, withdrawn: [], started: [4] });
    const cancelled = failure('ERR_CANCELLED', 'f-4 was cancelled', 'f-4', 'w', null);
    const instructions = handle({
      kind: 'run-erred',
      nowMs: 2,
      run: 4,
      failure: cancelled,
      durationUs: 70,
    });
    expect(messages(instructions)).toEqual([{ op: 'stopped', runs: [4], kept: [] }]);
    expect(core.counts()).toMatchObject({ runs: 0, slotted: 0 });
  });

  test('answers kept for runs it does not know', () => {
    const { handle } = aWorker();
    expect(messages(handle(said(stop([44], true))))).toEqual([
      { op: 'stopped', runs: [], kept: [44] },
    ]);
  });

  test('takes unstarted runs back from the slot and keeps the running one', () => {
    const { core, handle } = aWorker(1);
    handle(said(aRun([4, 5, 6], { expectedUs: 100 })));
    const asked = handle(said(stop([4, 5], false)));
    expect(asked).toEqual([{ do: 'withdraw', slot: 0, runs: [4, 5] }]);
    const answered = handle({
      kind: 'runs-withdrawn',
      nowMs: 1,
      slot: 0,
      withdrawn: [5],
      started: [4],
    });
    expect(messages(answered)).toEqual([{ op: 'stopped', runs: [5], kept: [4] }]);
    expect(messages(handle(ended([4])))).toMatchObject([{ op: 'finished', runs: [4] }]);
    expect(core.counts()).toMatchObject({ runs: 1, slotted: 1 });
  });

  test('terminates a running one where asked to, and requeues its neighbours', () => {
    const { handle } = aWorker(1);
    handle(said(aRun([4, 5], { expectedUs: 100 })));
    handle(said(stop([4], true)));
    const interrupted = handle({
      kind: 'runs-withdrawn',
      nowMs: 1,
      slot: 0,
      withdrawn: [],
      started: [4],
    });
    expect(interrupted).toMatchObject([
      { do: 'interrupt', slot: 0, run: 4, code: 'ERR_CANCELLED' },
    ]);
    const emptied = handle({
      kind: 'slot-emptied',
      nowMs: 2,
      slot: 0,
      failed: { run: 4, failure: aFailure() },
      unstarted: [5],
    });
    expect(messages(emptied)).toEqual([{ op: 'stopped', runs: [4], kept: [] }]);
    expect(placed(emptied)).toEqual([[0, [5]]]);
  });

  test('of a run that ends first tells its end, then that it was kept', () => {
    const { handle } = aWorker(1);
    handle(said(aRun([4])));
    handle(said(stop([4], true)));
    const instructions = handle(ended([4]), {
      kind: 'runs-withdrawn',
      nowMs: 1,
      slot: 0,
      withdrawn: [],
      started: [4],
    });
    expect(messages(instructions).map(({ op }) => op)).toEqual(['finished', 'stopped']);
    expect(messages(instructions)[1]).toEqual({ op: 'stopped', runs: [], kept: [4] });
  });
});

describe('closing', () => {
  test('hands back what has not started, says goodbye, exits, and then nothing any more', () => {
    const { handle } = aWorker(1);
    handle(said(aRun([4])));
    handle(said(aRun([5])), said(aRun([6], { dependencies: [[anInput(1)]] })));
    const instructions = handle({ kind: 'close-asked', nowMs: 1, reason: 'SIGTERM' }, ended([4]));
    expect(messages(instructions)).toEqual([
      { op: 'stopped', runs: [5, 6], kept: [] },
      { op: 'leaving', reason: 'SIGTERM' },
    ]);
    expect(instructions.at(-1)).toEqual({ do: 'exit', reason: 'SIGTERM' });
    expect(handle(ended([4]), said(aRun([7])))).toEqual([]);
  });

  test('follows from a close-worker message', () => {
    const { handle } = aWorker();
    const instructions = handle(said({ op: 'close-worker', reason: 'shutdown' }));
    expect(instructions.at(-1)).toEqual({ do: 'exit', reason: 'shutdown' });
  });
});

describe('draining', () => {
  const drain = (reason: string, restart: boolean, nowMs = 1): WorkerEvent => {
    return { kind: 'drain-asked', nowMs, reason, restart };
  };

  test('tells it, hands back what has not started, takes no more, and ends when told to', () => {
    const { handle } = aWorker(1);
    handle(said(aRun([4])));
    handle(said(aRun([5])), said(aRun([6], { dependencies: [[anInput(1)]] })));
    const instructions = handle(drain('SIGTERM', false));
    expect(messages(instructions)).toEqual([
      { op: 'draining', reason: 'SIGTERM' },
      { op: 'stopped', runs: [5, 6], kept: [] },
    ]);
    expect(messages(handle(said(aRun([7]))))).toEqual([{ op: 'stopped', runs: [7], kept: [] }]);
    const end = handle(ended([4]));
    expect(messages(end).map(({ op }) => op)).toEqual(['finished']);
    expect(handle(said({ op: 'close-worker', reason: 'it was retired' })).at(-1)).toEqual({
      do: 'exit',
      reason: 'SIGTERM',
    });
  });

  test('at the end of a lifetime is followed by a restart, unless a signal calls that off', () => {
    const { handle } = aWorker(1);
    expect(messages(handle(drain('lifetime', true)))).toHaveLength(1);
    expect(handle(said({ op: 'close-worker', reason: 'retired' })).at(-1)).toMatchObject({
      restart: true,
      reason: 'lifetime',
    });
    const other = aWorker(1);
    other.handle(drain('lifetime', true));
    expect(messages(other.handle(drain('SIGTERM', false)))).toEqual([]);
    expect(other.handle(said({ op: 'close-worker', reason: 'retired' })).at(-1)).toEqual({
      do: 'exit',
      reason: 'SIGTERM',
    });
  });

  test('lays the end of a command by SIGTERM to what ends the worker', () => {
    const { handle } = aWorker(1);
    const why = failure('ERR_COMMAND', 'command sh was ended by signal SIGTERM', '', 'w', null);
    const erred = (run: number): WorkerEvent => {
      return { kind: 'run-erred', nowMs: 1, run, failure: why, durationUs: 1, isTerminated: true };
    };
    handle(said(aRun([4])));
    expect(messages(handle(erred(4)))).toMatchObject([
      { op: 'run-failed', run: 4, failure: { code: 'ERR_COMMAND' } },
    ]);
    handle(said(aRun([5])));
    handle(drain('SIGTERM', false));
    expect(messages(handle(erred(5)))).toMatchObject([
      { op: 'run-failed', run: 5, failure: { code: 'ERR_KILLED_WORKER' } },
    ]);
  });

  test('does not wait for ever for runs that wait for other tasks', () => {
    const { handle } = aWorker(2);
    handle(said(aRun([4])), said(aRun([5])));
    handle({ kind: 'run-seceded', nowMs: 1, run: 4 }, drain('lifetime', false));
    handle({ kind: 'woke', nowMs: 60_000 });
    handle({ ...ended([5]), nowMs: 70_000 });
    expect(handle({ kind: 'woke', nowMs: 80_000 })).toEqual([]);
    expect(handle({ kind: 'woke', nowMs: 90_000 }).at(-1)).toMatchObject({ do: 'exit' });
  });
});

test('a restart is a close after which the nanny starts another process', () => {
  const { handle } = aWorker(1);
  handle(said(aRun([1])), said(aRun([2])));
  const instructions = handle(said({ op: 'restart-worker', reason: 'paused' }));
  expect(messages(instructions)).toEqual([
    { op: 'stopped', runs: [2], kept: [] },
    { op: 'leaving', reason: 'paused' },
  ]);
  expect(instructions.at(-1)).toEqual({ do: 'exit', reason: 'paused', restart: true });
});

test('a heartbeat names what executes', () => {
  const { handle } = aWorker(2);
  handle(said(aRun([4, 5, 6, 7], { expectedUs: 100 })));
  const metrics = workerMetrics({
    rssBytes: 1,
    storedBytes: 2,
    cpu: 0.5,
    loopLagMs: 3,
    executing: 2,
    queued: 2,
    spilledBytes: 0,
    paused: false,
  });
  expect(messages(handle({ kind: 'heartbeat-due', nowMs: 1, metrics }))).toEqual([
    { op: 'worker-heartbeat', metrics, executing: [4, 6] },
  ]);
});

describe('functions', () => {
  test('are defined for the slots and forgotten with the last run that names them', () => {
    const { core, handle } = aWorker(1);
    expect(handle(defined(2))).toEqual([
      { do: 'define', fn: 2, name: 'f2', spec: new Uint8Array([2]) },
    ]);
    handle(said(aRun([4], { fn: 2 })));
    expect(handle(said({ op: 'forget-functions', fns: [1, 2] }))).toEqual([
      { do: 'forget', fns: [1] },
    ]);
    expect(only(handle(ended([4])), 'forget')).toEqual([{ do: 'forget', fns: [2] }]);
    expect(core.counts().functions).toBe(0);
  });
});
