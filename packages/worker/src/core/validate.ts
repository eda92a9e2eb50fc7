import { invariant } from '@farm/protocol/core';

import { SPILL_BYTES_MIN, type DataTable } from './data-table.ts';
import type { WorkerRun } from './run.ts';
import type { WorkerState } from './worker-state.ts';

/**
 * Checks every index of a worker's core against every other.
 *
 * @throws FarmError `ERR_INTERNAL` naming the first thing that does not hold.
 */
export function checkWorkerState(state: WorkerState): void {
  checkReady(state);
  checkSlots(state);
  checkRuns(state);
  checkFunctions(state);
  checkData(state);
  state.devices.check(state.runs.values());
}

function checkReady({ ready, runs }: WorkerState): void {
  const queued = [...ready.values()];
  invariant(queued.length === ready.size, `${queued.length} ready, counted ${ready.size}`);
  invariant(new Set(queued).size === queued.length, 'a run is ready twice');
  for (const run of queued) {
    invariant(runs.get(run.run) === run, `ready run ${run.run} is not known`);
  }
}

function checkSlots({ slots, runs }: WorkerState): void {
  for (const slot of slots.all()) {
    const name = `slot ${slot.index}`;
    let chargedUs = 0;
    for (const run of slot.runs) {
      invariant(runs.get(run.run) === run, `${name} has unknown run ${run.run}`);
      invariant(run.state === 'slotted', `${name} has ${run.state} run ${run.run}`);
      invariant(run.slot === slot.index, `${name} has run ${run.run} of slot ${run.slot}`);
      chargedUs += run.chargedUs;
    }
    invariant(Math.abs(chargedUs - slot.chargedUs) < 1, `${name} is charged ${slot.chargedUs}`);
    invariant(!slot.isExclusive || slot.runs.size === 1, `${name} is exclusive`);
    if (slot.blockedBy !== null) {
      invariant(slot.runs.size === 0, `${name} is blocked and has runs`);
      invariant(slot.blockedBy.state === 'slotted', `${name} is blocked by nothing`);
    }
    for (const { run, threads } of slot.runs) {
      const blocked = slots.all().filter(({ blockedBy }) => blockedBy?.run === run).length;
      invariant(blocked === threads - 1, `run ${run} blocks ${blocked} slots`);
    }
  }
}

function checkRuns({ runs, ready, slots, data }: WorkerState): void {
  const queued = new Set(ready.values());
  for (const [id, run] of runs) {
    invariant(run.run === id, `run ${run.run} is kept under ${id}`);
    invariant(run.state !== 'gone', `run ${id} is gone`);
    invariant(queued.has(run) === (run.state === 'ready'), `run ${id}, ${run.state}, queue`);
    const isInSlot = run.slot >= 0 && slots.at(run.slot).runs.has(run);
    invariant(isInSlot === (run.state === 'slotted'), `run ${id}, ${run.state}, slot ${run.slot}`);
    invariant(!run.isWithdrawing || isInSlot, `run ${id} is withdrawn from nowhere`);
    const hasSeceded = run.state === 'seceded';
    invariant(hasSeceded === run.secededFrom >= 0, `run ${id}, ${run.state}, seceded`);
    invariant(
      run.stop === null || isInSlot || hasSeceded,
      `run ${id}, ${run.state}, is to be stopped`,
    );
    let missing = 0;
    for (const task of new Set(run.inputs)) {
      const input = data.get(task);
      invariant(input !== undefined, `input ${task} of run ${id} is not known`);
      // What is in a slot has had its inputs.
      if (input.state === 'stored' || hasBegun(run)) continue;
      invariant(input.waiting?.has(run), `run ${id} does not wait for ${task}`);
      missing += 1;
    }
    invariant(missing === run.missing, `run ${id} misses ${missing}, counted ${run.missing}`);
    invariant(missing > 0 === (run.state === 'waiting'), `run ${id}, ${run.state}, inputs`);
    const isHungry = !hasBegun(run) && run.inputs.some((task) => isSpilled(data, task));
    invariant(!isHungry || data.hungry.has(run), `run ${id}, ${run.state}, spilled inputs`);
    invariant(!data.hungry.has(run) || run.state === 'waiting', `run ${id}, ${run.state}, hungry`);
  }
}

function checkFunctions({ functions, runs }: WorkerState): void {
  const uses = new Map<number, number>();
  for (const { fn } of runs.values()) uses.set(fn.fn, (uses.get(fn.fn) ?? 0) + 1);
  for (const known of functions.values()) {
    const used = uses.get(known.fn) ?? 0;
    invariant(used === known.runs, `function ${known.fn} has ${used} runs, counted ${known.runs}`);
    invariant(!known.isForgotten || used > 0, `function ${known.fn} is forgotten`);
    uses.delete(known.fn);
  }
  invariant(uses.size === 0, `runs name unknown functions ${[...uses.keys()].join(', ')}`);
}

function checkData({ data, runs }: WorkerState): void {
  const uses = new Map<number, number>();
  for (const run of data.hungry) invariant(runs.get(run.run) === run, `run ${run.run} is hungry`);
  let memoryBytes = 0;
  let spilledBytes = 0;
  for (const { inputs } of runs.values()) {
    for (const task of inputs) uses.set(task, (uses.get(task) ?? 0) + 1);
  }
  for (const entry of data.values()) {
    const name = `data of task ${entry.task}`;
    const used = uses.get(entry.task) ?? 0;
    invariant(used === entry.uses, `${name} is used ${used} times, counted ${entry.uses}`);
    if (entry.state === 'stored') memoryBytes += entry.sizeBytes;
    if (entry.state === 'spilled') spilledBytes += entry.sizeBytes;
    const isWorthFile = entry.state === 'stored' && entry.sizeBytes >= SPILL_BYTES_MIN;
    invariant(data.resident.has(entry) === isWorthFile, `${name}, ${entry.state}, resident`);
    invariant(entry.state !== 'spilled' || entry.file === 'written', `${name} has no file`);
    invariant(entry.state !== 'lost' || entry.uses > 0, `${name} is lost`);
    const isForOne = entry.state === 'stored' && entry.uses === 1 && !entry.isKnown;
    invariant(!data.movable.has(entry) || isForOne, `${name}, ${entry.state}, is to be moved`);
    invariant(
      entry.state === 'fetching' || entry.isKnown || entry.uses > 0,
      `${name} is kept for nobody`,
    );
    invariant(!entry.isAcquired || entry.state === 'fetching', `${name} is to be acquired`);
    for (const run of entry.waiting ?? []) {
      const isAway = entry.state === 'fetching' || entry.state === 'spilled';
      invariant(isAway, `run ${run.run} waits for ${name}, ${entry.state}`);
      invariant(runs.get(run.run) === run, `unknown run ${run.run} waits for ${name}`);
    }
  }
  invariant(memoryBytes === data.memoryBytes, `${memoryBytes} bytes are in memory`);
  invariant(spilledBytes === data.spilledBytes, `${spilledBytes} bytes are spilled`);
}

function hasBegun({ state }: WorkerRun): boolean {
  return state === 'slotted' || state === 'seceded';
}

function isSpilled(data: DataTable, task: number): boolean {
  return data.get(task)?.state === 'spilled';
}
