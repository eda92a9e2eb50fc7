/**
 * Ready tasks that only tasks which wait for others keep from starting. A task that waits gives up
 * its slots but keeps its resources: its memory is in use, and its code may be on its devices. Where
 * it waits for a task that needs the same, neither ends. Nobody may wait for that in silence.
 */
import { findKey } from './blocks.ts';
import { nameAt } from './naming.ts';
import { headOf } from './queueing.ts';
import { fromUnits } from './resources.ts';
import type { Assignment, Block, ClientState, Requirement, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';

/** How long the first task of a queue has found no room before that is worth a word. */
const TELL_AFTER_MS = 3_000;
/** Holders that a sentence names. */
const NAMES_MAX = 3;
/** Sentences for one client. */
const SENTENCES_MAX = 3;
/** Tasks that submitted each other, looked at from the innermost on. */
const ANCESTORS_MAX = 64;

/**
 * The runs that wait for other tasks and hold what the requirement lacks, of all workers that fit.
 * None where some worker has it free, or will have when runs end that wait for nothing.
 */
export function holdersWaiting({ fits, needs }: Requirement): readonly Assignment[] {
  if (needs.length === 0) return [];
  const holders: Assignment[] = [];
  for (const worker of fits) {
    const here = holdersOn(worker, needs);
    if (here.length === 0) return [];
    holders.push(...here);
  }
  return holders;
}

/** The same for one worker. */
function holdersOn({ pool, runs }: WorkerState, needs: Requirement['needs']): Assignment[] {
  const waiting = [...runs.values()].filter(({ isSeceded, task }) => isSeceded && task !== null);
  if (waiting.length === 0) return [];
  const lacking = needs.filter((need) => !pool.couldHoldBeside(need, waiting));
  return waiting.filter(({ requirement }) =>
    requirement.needs.some(({ name }) => lacking.some((need) => need.name === name)),
  );
}

/** Says of a queue that is held up so by whom; null where it is not. */
export function describeHolders(requirement: Requirement): string | null {
  const keys = keysOf(holdersWaiting(requirement));
  if (keys.length === 0) return null;
  const more = keys.length > NAMES_MAX ? ` and ${keys.length - NAMES_MAX} more` : '';
  const [hold, end, wait] =
    keys.length === 1 ? ['holds', 'it ends', 'waits'] : ['hold', 'they end', 'wait'];
  const names = keys.slice(0, NAMES_MAX).join(', ');
  return `${names}${more} ${hold} that until ${end}, and ${wait} for other tasks`;
}

/** Warns of what is held up so, once for each time a queue comes to that. */
export function warnOfHeldUp(tables: Tables): void {
  for (const requirement of tables.requirements.values()) {
    if (requirement.isHeldUpTold || !hasWaited(tables, requirement)) continue;
    const message = describeHeldUp(tables, requirement);
    if (message === null) continue;
    requirement.isHeldUpTold = true;
    tables.outbox.instruct({ do: 'log', level: 'warn', message });
  }
}

/** Of what a client waits for, or has submitted, what is held up so: a sentence each. */
export function heldUpFor(tables: Tables, client: ClientState): readonly string[] {
  const sentences: string[] = [];
  for (const requirement of tables.requirements.values()) {
    if (sentences.length >= SENTENCES_MAX) break;
    if (!hasWaited(tables, requirement)) continue;
    const holders = holdersWaiting(requirement);
    const blocks = [headOf(requirement)?.block, ...holders.map(({ task }) => task?.block)];
    if (!blocks.some((block) => block?.owner === client)) continue;
    const sentence = describeHeldUp(tables, requirement);
    if (sentence !== null) sentences.push(sentence);
  }
  return sentences;
}

function hasWaited({ nowMs }: Tables, { needs, ready, blockedSinceMs }: Requirement): boolean {
  if (needs.length === 0 || ready === 0) return false;
  return blockedSinceMs !== null && nowMs - blockedSinceMs >= TELL_AFTER_MS;
}

function describeHeldUp(tables: Tables, requirement: Requirement): string | null {
  const head = headOf(requirement);
  const holders = describeHolders(requirement);
  if (holders === null || head === null) return null;
  const { block, task } = head;
  const key = nameAt(block.naming, task?.index ?? block.cursor);
  const ancestor = ancestorAmong(tables, block, keysOf(holdersWaiting(requirement)));
  const from = ancestor === null ? '' : ` (submitted from ${ancestor})`;
  const needed = requirement.needs.map(({ name, units }) => `${name}=${fromUnits(units)}`);
  return (
    `${key}${from} needs ${needed.join(' ')}: ${holders}. ` +
    'Let tasks that wait for others ask for less, or start more workers'
  );
}

/** Which of these tasks a block was submitted from, by itself or by a task that it submitted. */
function ancestorAmong(tables: Tables, block: Block, keys: readonly string[]): string | null {
  let { parent } = block;
  for (let steps = 0; parent !== null && steps < ANCESTORS_MAX; steps++) {
    if (keys.includes(parent)) return parent;
    parent = findKey(tables, parent)?.block.parent ?? null;
  }
  return null;
}

function keysOf(holders: readonly Assignment[]): string[] {
  return holders.flatMap(({ task }) => task?.key ?? []);
}
