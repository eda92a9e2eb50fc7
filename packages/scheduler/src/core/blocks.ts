/** Finding blocks and tasks by what others call them. */
import { forgetUnused } from './functions.ts';
import { indexOfKey, splitKey } from './naming.ts';
import type { Naming } from './naming.ts';
import { forgetRequirement } from './requirements.ts';
import { flagsOf, GONE, recordAt } from './state.ts';
import type { Block, TaskState } from './state.ts';
import type { Tables } from './tables.ts';

/** A task of a block, which may have no record of its own. */
export interface TaskPlace {
  readonly block: Block;
  readonly index: number;
}

/** Takes a new block into the tables. Its keys are free, see {@link keysTaken}. */
export function addBlock(tables: Tables, block: Block, isNamed: boolean): void {
  tables.blocks.add(block);
  block.fn.blocks += 1;
  block.requirement.users += 1;
  if (!isNamed) return;
  const { key, indexFrom } = block.naming;
  if (indexFrom === null) {
    tables.exactKeys.set(key, block);
    return;
  }
  const blocks = tables.keyPrefixes.get(key);
  if (blocks === undefined) tables.keyPrefixes.set(key, [block]);
  else blocks.push(block);
}

/** Takes a block out of the tables: all its tasks are forgotten. */
export function dropBlock(tables: Tables, block: Block): void {
  const { key, indexFrom } = block.naming;
  tables.blocks.delete(block);
  if (indexFrom === null) {
    if (tables.exactKeys.get(key) === block) tables.exactKeys.delete(key);
  } else {
    const others = tables.keyPrefixes.get(key)?.filter((other) => other !== block) ?? [];
    if (others.length === 0) tables.keyPrefixes.delete(key);
    else tables.keyPrefixes.set(key, others);
  }
  block.fn.blocks -= 1;
  block.requirement.users -= 1;
  forgetUnused(tables, block.fn);
  forgetRequirement(tables, block.requirement);
}

/** Where the task with this key is; undefined where there is none. */
export function findKey(tables: Tables, key: string): TaskPlace | undefined {
  const exact = tables.exactKeys.get(key);
  if (exact !== undefined) return isThere(exact, 0) ? { block: exact, index: 0 } : undefined;
  const parts = splitKey(key);
  if (parts === null) return undefined;
  for (const block of tables.keyPrefixes.get(parts.prefix) ?? []) {
    const index = indexOfKey(block.naming, key);
    if (index !== null && isThere(block, index)) return { block, index };
  }
  return undefined;
}

/** A key of a new block that another task has; undefined where all are free. */
export function keysTaken(tables: Tables, naming: Naming): string | undefined {
  const { key, indexFrom, count } = naming;
  if (indexFrom === null) return findKey(tables, key) === undefined ? undefined : key;
  for (const { naming: other, alive } of tables.keyPrefixes.get(key) ?? []) {
    if (alive === 0 || other.indexFrom === null) continue;
    const first = Math.max(indexFrom, other.indexFrom);
    if (first < Math.min(indexFrom + count, other.indexFrom + other.count)) {
      return `${key}-${first}`;
    }
  }
  return undefined;
}

/** The task with this number, if it is known and has a record. */
export function findTask(tables: Tables, number: number): TaskState | undefined {
  const block = tables.blocks.find(number);
  return block === undefined ? undefined : recordAt(block, number - block.first);
}

function isThere(block: Block, index: number): boolean {
  return (flagsOf(block, index) & GONE) === 0;
}
