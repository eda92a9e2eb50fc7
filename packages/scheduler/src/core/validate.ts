import { invariant } from '@farm/protocol/core';

import { eachItem, hasItem } from './collections/one-or-many.ts';
import { validateCoordination } from './coordination/validate.ts';
import { Devices } from './devices.ts';
import type { Prefix } from './durations.ts';
import { noTasks } from './task-counts.ts';
import type { TaskCounts } from './task-counts.ts';
import { isInBlockQueue } from './queueing.ts';
import { hasCapacity, isNamedBy } from './requirements.ts';
import { isInTheWay } from './reservation.ts';
import type { Span } from './spans.ts';
import { heldBy } from './replicas.ts';
import { flagsOf, GONE, recordAt, recordsOf, requirementOf, WANTED } from './state.ts';
import type { Assignment, Block, Requirement, TaskState, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';
import { TASK_STATES } from './task-states.ts';
import { isNeeded, isUnfinished } from './transitions.ts';
import { validateData } from './validate-data.ts';
import { validatePlugins } from './validate-plugins.ts';
import { canTakeRuns, fitsNow, loadOf } from './workload.ts';

/**
 * Checks all that must hold between two `handle`s.
 *
 * @throws FarmError `ERR_INTERNAL` naming what does not hold.
 */
export function validateTables(tables: Tables): void {
  const counts = noTasks();
  const byPrefix = new Map<Prefix, TaskCounts>();
  const bySpan = new Map<Span, TaskCounts>();
  const ready = new Map<Requirement, number>();
  const users = new Map<Requirement, number>();
  let values = 0;
  for (const block of tables.blocks) {
    const own = noTasks();
    validateBlock(tables, block, own, ready);
    count(users, block.requirement);
    addCounts(counts, own);
    const { prefix } = block.fn;
    byPrefix.set(prefix, addCounts(byPrefix.get(prefix) ?? noTasks(), own));
    const { span } = block;
    if (span !== null) bySpan.set(span, addCounts(bySpan.get(span) ?? noTasks(), own));
    for (const task of recordsOf(block)) {
      if (task === undefined) continue;
      validateTask(tables, task);
      const asked = task.trouble?.requirement ?? null;
      if (asked !== null) count(users, asked);
      if (task.valueAt >= 0) values += 1;
    }
  }
  for (const [state, count] of Object.entries(tables.counts)) {
    const found = new Map(Object.entries(counts)).get(state);
    invariant(found === count, `${count} tasks are counted ${state}, there are ${found}`);
  }
  invariant(values === tables.values.count, `${values} values, counted ${tables.values.count}`);
  invariant(values > 0 || tables.values.bytes === 0, `no values of ${tables.values.bytes} bytes`);
  for (const worker of tables.workers.values()) validateWorker(tables, worker);
  for (const requirement of tables.requirements.values()) {
    validateRequirement(
      tables,
      requirement,
      ready.get(requirement) ?? 0,
      users.get(requirement) ?? 0,
    );
  }
  validateClients(tables);
  validateCoordination(tables);
  validatePrefixes(tables, byPrefix);
  for (const span of tables.spans) validateSpan(span, bySpan.get(span) ?? noTasks());
  validateMoves(tables);
  validateData(tables);
  for (const { worker, run } of tables.stragglers) {
    invariant(worker.runs.has(run), `run ${run} is over and counts as slow`);
  }
  validatePlugins(tables);
  invariant(tables.moved.length === 0, 'tasks are under way');
  invariant(tables.reviews.length === 0, 'tasks are under review');
  invariant(tables.slots === sum([...tables.accepting], ({ nthreads }) => nthreads), 'slots');
}

function validateBlock(
  tables: Tables,
  block: Block,
  counts: TaskCounts,
  ready: Map<Requirement, number>,
): void {
  const { requirement, naming } = block;
  let alive = 0;
  let unmade = 0;
  for (let index = 0; index < block.count; index++) {
    const task = recordAt(block, index);
    const isGone = (flagsOf(block, index) & GONE) !== 0;
    invariant(!isGone || task === undefined, `${naming.key} ${index} is gone and has a record`);
    if (isGone) continue;
    alive += 1;
    if (task === undefined) {
      unmade += 1;
      invariant(index >= block.cursor, `${naming.key} ${index} was passed over`);
      invariant(flagsOf(block, index) === WANTED, `${naming.key} ${index} is queued, unwanted`);
      counts[requirement.fits.size > 0 ? 'queued' : 'no-worker'] += 1;
    } else {
      counts[task.state] += 1;
    }
    if (task === undefined || task.state === 'queued' || task.state === 'no-worker') {
      count(ready, task === undefined ? requirement : requirementOf(task));
    }
  }
  invariant(alive > 0, `${naming.key} has no tasks left`);
  invariant(block.generation < tables.nextGeneration, `${naming.key} comes after what is to come`);
  invariant(alive === block.alive, `${naming.key} has ${alive} tasks, counted ${block.alive}`);
  invariant(unmade === block.unmade, `${naming.key}: ${unmade} unmade, counted ${block.unmade}`);
  invariant(tables.requirements.get(requirement.id) === requirement, `${naming.key}: requirement`);
  invariant(tables.functions.get(block.fn.hash) === block.fn, `${naming.key}: function`);
}

function validateTask(tables: Tables, task: TaskState): void {
  const { key, state, dependencies, dependents, assignment, holders } = task;
  const unfinished = isUnfinished(task);
  invariant(state !== 'forgotten', `${key} is forgotten and known`);
  invariant(state === 'released' || isNeeded(task), `${key} is ${state} and nobody needs it`);
  invariant(state !== 'released' || !isNeeded(task), `${key} is needed and released`);
  invariant(state !== 'released' || dependents !== null, `${key} is known for nothing`);
  const missing = dependencies.filter((dependency) => dependency.state !== 'memory').length;
  for (const dependency of dependencies) {
    invariant(hasItem(dependency.dependents, task), `${key} is no dependent of ${dependency.key}`);
    invariant(
      state !== 'waiting' || dependency.state === 'memory' || isUnfinished(dependency),
      `${key} waits for ${dependency.key}, which is ${dependency.state}`,
    );
    invariant(
      !unfinished || dependency.state !== 'released',
      `${key} is ${state}, its dependency ${dependency.key} is released`,
    );
  }
  let needers = 0;
  for (const dependent of eachItem(dependents)) {
    invariant(dependent.dependencies.includes(task), `${dependent.key} does not depend on ${key}`);
    if (isUnfinished(dependent)) needers += 1;
  }
  invariant(needers === task.needers, `${key} has ${needers} needers, counted ${task.needers}`);
  if (state === 'waiting') {
    const isHeldBack = (task.trouble?.delayedUntilMs ?? null) !== null;
    const isArriving = task.block.isScattered;
    invariant(missing > 0 || isHeldBack || isArriving, `${key} waits for nothing`);
    invariant(missing === task.waitingOn, `${key} waits for ${missing}, not ${task.waitingOn}`);
  }
  if (state === 'queued' || state === 'no-worker') {
    invariant(missing === 0, `${key} is ${state} and lacks ${missing} dependencies`);
    const { fits } = requirementOf(task);
    invariant(fits.size > 0 === (state === 'queued'), `${key} is ${state} wrongly`);
    const isQueued = task.ticket !== 0 || task.index >= task.block.cursor;
    invariant(isQueued && (task.ticket !== 0 || isInBlockQueue(task.block, task.index)), key);
  } else {
    invariant(task.ticket === 0, `${key} is ${state} and has a place in a queue`);
  }
  invariant((state === 'processing') === (assignment !== null), `${key} is ${state}, assigned`);
  if (assignment !== null) {
    invariant(assignment.task === task, `run ${assignment.run} is not of ${key}`);
    invariant(assignment.worker.runs.get(assignment.run) === assignment, `${key}: unknown run`);
  }
  validateCopy(task);
  const isHeld = holders !== null || task.valueAt >= 0;
  invariant((state === 'memory') === isHeld, `${key} is ${state}, held: ${isHeld}`);
  for (const worker of eachItem(holders)) {
    invariant(worker.holds.has(task.number), `${worker.name} does not hold ${key}`);
    invariant(tables.workers.get(worker.session) === worker, `${key} is held by ${worker.name}`);
  }
  invariant(state !== 'erred' || (task.trouble?.failure ?? null) !== null, `${key} erred: why?`);
}

/** A second run is beside a first one, and on another worker. */
function validateCopy({ key, block, assignment, trouble }: TaskState): void {
  const copy = trouble?.copy ?? null;
  if (copy === null) return;
  const { run, task, worker } = copy;
  invariant(assignment !== null && assignment.run !== run, `${key}: run ${run} is a copy of none`);
  invariant(assignment.worker !== worker, `${key} runs twice on ${worker.name}`);
  invariant(worker.runs.get(run) === copy && task?.key === key, `${key}: run ${run} is unknown`);
  invariant(block.rerunOnLoss && block.speculate !== null, `${key} runs twice and must not`);
}

function validateWorker(tables: Tables, worker: WorkerState): void {
  const { name } = worker;
  const runs = [...worker.runs.values()];
  const slotted = runs.filter(({ isSeceded }) => !isSeceded);
  const threads = sum(slotted, ({ requirement }) => requirement.threads);
  invariant(threads === worker.threadsUsed, `${name}: ${threads} threads are used`);
  const long = sum(slotted, ({ isLong, requirement }) => (isLong ? requirement.threads : 0));
  invariant(long === worker.threadsLong, `${name}: ${long} threads are taken for long`);
  const load = sum(slotted, ({ expectedUs }) => expectedUs);
  invariant(load === worker.occupancyUs, `${name}: occupancy is ${load}`);
  const used = new Map<string, number>();
  for (const { requirement, task, run } of runs) {
    for (const { name, units } of requirement.needs) {
      used.set(name, (used.get(name) ?? 0) + units);
    }
    invariant(
      task === null || task.assignment?.run === run || task.trouble?.copy?.run === run,
      `${name}: run ${run} is not its task's`,
    );
  }
  validateDevices(worker, runs);
  for (const resource of new Set([...worker.pool.names(), ...used.keys()])) {
    const units = used.get(resource) ?? 0;
    invariant(units === worker.pool.used(resource), `${name}: ${resource} is not accounted`);
    invariant(units <= worker.pool.capacity(resource), `${name}: ${resource} is above capacity`);
  }
  const special = sum(runs, ({ requirement }) => (requirement.isPlain ? 0 : 1));
  invariant(special === worker.specialRuns, `${name}: ${special} runs take more than a slot`);
  const beyondPlain = sum(slotted, ({ requirement }) =>
    requirement.isPlain ? 0 : requirement.threads,
  );
  invariant(beyondPlain <= worker.nthreads, `${name}: threads are above capacity`);
  for (const task of heldBy(tables, worker)) {
    invariant(hasItem(task.holders, worker), `${name} holds ${task.key}, which does not know`);
  }
  invariant(tables.workersByName.get(name) === worker, `${name} is not found by name`);
  const isAccepting = canTakeRuns(worker);
  invariant(tables.accepting.has(worker) === isAccepting, `${name}: accepting`);
  invariant(tables.pausedWorkers.has(worker) === worker.isPaused, `${name}: paused`);
  invariant(worker.isAccepting === isAccepting, `${name}: takes runs`);
  invariant(tables.awayWorkers.has(worker) === (worker.away !== null), `${name}: away`);
  const isIdle = isAccepting && worker.threadsUsed < worker.nthreads;
  invariant(tables.idle.has(worker) === isIdle, `${name}: idle`);
  const isLoadKnown = !isIdle || tables.idle.loadAt(worker.idleAt) === loadOf(worker);
  invariant(isLoadKnown, `${name}: what it is loaded with`);
  const isLoaded = isAccepting && worker.threadsUsed > worker.nthreads;
  invariant(tables.loaded.has(worker) === isLoaded, `${name}: loaded`);
  invariant(isAccepting || !tables.stalled.has(worker), `${name}: stalled`);
}

/** Devices are granted to the worker's runs and nobody else, none of them more than it has. */
function validateDevices({ name, pool }: WorkerState, runs: readonly Assignment[]): void {
  for (const resource of pool.names()) {
    const devices = pool.devices(resource);
    if (devices === undefined) continue;
    const left = new Devices(pool.capacity(resource));
    for (const { run, requirement, devices: grant } of runs) {
      const shares = grant?.get(resource) ?? [];
      const units = requirement.needs.find((need) => need.name === resource)?.units ?? 0;
      const granted = sum(shares, (share) => share.units);
      invariant(granted === units, `${name}: run ${run} has ${granted} units of ${resource}`);
      left.take(shares);
    }
    const free = left.free();
    const isHeld = free.every((units) => units >= 0);
    invariant(isHeld, `${name}: a device of ${resource} is granted by more than there is`);
    const isAccounted = String(devices.free()) === String(free);
    invariant(isAccounted, `${name}: ${resource} is not accounted by device`);
  }
}

function validateRequirement(
  tables: Tables,
  requirement: Requirement,
  ready: number,
  users: number,
): void {
  const { id, fits, preferred } = requirement;
  invariant(ready === requirement.ready, `${id}: ${ready} ready, counted ${requirement.ready}`);
  invariant(users === requirement.users, `${id}: ${users} users, counted ${requirement.users}`);
  for (const { block, task, ticket, rank, generation } of requirement.queue.items()) {
    if (task === null || task.ticket !== ticket) continue;
    const isInOrder = rank === task.rank && generation === block.generation;
    invariant(isInOrder, `${task.key} ranks otherwise than its place in the queue`);
  }
  invariant(id === '' || users > 0, `${id} is needed by nobody`);
  for (const worker of fits) invariant(tables.accepting.has(worker), `${id} fits a stranger`);
  for (const worker of preferred) invariant(fits.has(worker), `${id} prefers a misfit`);
  const slots = [...fits].reduce((sum, { nthreads }) => sum + nthreads, 0);
  invariant(slots === requirement.slots, `${id}: ${slots} slots, counted ${requirement.slots}`);
  for (const worker of tables.accepting) {
    const isAllowed = requirement.isLoose || isNamedBy(requirement, worker);
    const isFit = isAllowed && hasCapacity(requirement, worker);
    invariant(fits.has(worker) === isFit, `${worker.name} fits ${id}, or does not, and counts`);
  }
  if (ready === 0 || tables.closing !== null) return;
  // No free worker while something fits, unless it is kept clear for a larger task.
  for (const worker of fits) {
    const isReserved = [...tables.requirements.values()].some(
      (other) =>
        other !== requirement &&
        other.reserved === worker &&
        isInTheWay(worker, other, requirement),
    );
    invariant(isReserved || !fitsNow(worker, requirement), `${worker.name} is idle, ${id} fits`);
  }
}

function validateClients(tables: Tables): void {
  for (const client of tables.awayClients) {
    invariant(tables.clients.get(client.session) === client, `${client.session} is away and gone`);
  }
  for (const worker of tables.awayWorkers) {
    invariant(tables.workers.get(worker.session) === worker, `${worker.name} is away and gone`);
  }
  for (const client of tables.clients.values()) {
    invariant(tables.awayClients.has(client) === (client.away !== null), `${client.session}: away`);
    for (const { block, alive, isOwner, offset, count, first } of client.futures) {
      let found = 0;
      for (let at = 0; at < count; at++) {
        if (isOwner) found += flagsOf(block, offset + at) & WANTED;
        else if (recordAt(block, offset)?.wants?.some((want) => want.id === first) === true)
          found += 1;
      }
      invariant(found === alive && alive > 0, `futures from ${first}: ${found}, counted ${alive}`);
      invariant(!isOwner || block.owner === client, `futures from ${first} are not the client's`);
    }
  }
  for (const fn of tables.functions.values()) {
    invariant(fn.blocks > 0 || fn.definers.size > 0, `function ${fn.name} is of no use`);
  }
}

function addCounts(sums: TaskCounts, more: Readonly<TaskCounts>): TaskCounts {
  for (const state of TASK_STATES) sums[state] += more[state];
  return sums;
}

function validateSpan({ path, tasks }: Span, found: Readonly<TaskCounts>): void {
  const counted = JSON.stringify({ ...tasks, forgotten: 0 });
  invariant(counted === JSON.stringify(found), `span ${path.join('.')} counts ${counted}`);
}

function validatePrefixes(tables: Tables, found: ReadonlyMap<Prefix, TaskCounts>): void {
  for (const prefix of new Set([...found.keys(), ...tables.durations.latest()])) {
    const counts = found.get(prefix) ?? noTasks();
    for (const state of TASK_STATES) {
      const is = `${counts[state]} tasks of ${prefix.name} are ${state}`;
      invariant(counts[state] === prefix.counts[state], `${is}, counted ${prefix.counts[state]}`);
    }
  }
}

/** Runs on their way from one worker to another count on both sides. */
function validateMoves(tables: Tables): void {
  const incoming = new Map<WorkerState, { us: number; runs: number }>();
  for (const victim of tables.workers.values()) {
    let outgoingUs = 0;
    for (const { move, run, task, staysUntilMs } of victim.runs.values()) {
      if (move === null) continue;
      invariant(move.thief !== victim, `run ${run} is to move to where it is`);
      invariant(staysUntilMs <= tables.nowMs, `run ${run} is to move, and to stay`);
      invariant(task === null || task.state === 'processing', `run ${run} moves, unassigned`);
      outgoingUs += move.expectedUs;
      const sum = incoming.get(move.thief) ?? { us: 0, runs: 0 };
      incoming.set(move.thief, { us: sum.us + move.expectedUs, runs: sum.runs + 1 });
    }
    invariant(outgoingUs === victim.outgoingUs, `${victim.name}: ${outgoingUs} µs move away`);
  }
  for (const worker of tables.workers.values()) {
    const { us, runs } = incoming.get(worker) ?? { us: 0, runs: 0 };
    const isCounted = us === worker.incomingUs && runs === worker.incomingRuns;
    invariant(isCounted, `${worker.name}: ${runs} runs move there`);
  }
}

function count<T>(counts: Map<T, number>, item: T): void {
  counts.set(item, (counts.get(item) ?? 0) + 1);
}

function sum<T>(items: readonly T[], amount: (item: T) => number): number {
  return items.reduce((total, item) => total + amount(item), 0);
}
