/** Variables: a value under a name, which may be waited for. */
import type { ReservedIds, SharedItem } from '@farm/protocol/core';

import type { Tables } from '../tables.ts';
import { answer, nameProblem, refuse, wait } from './answers.ts';
import type { Caller } from './answers.ts';
import { dropItem, handOut, isKept, keepItem } from './items.ts';
import type { KeptItem } from './items.ts';
import type { Waiter } from './waiting.ts';

/** A variable that is set, or that somebody waits for. */
export interface SharedVariable {
  item: KeptItem | null;
  /** Who waits for it, with the ids set aside for the futures in it. */
  readonly line: Map<Waiter, ReservedIds>;
}

/** Sets it; what it was before is let go of. Those who wait get it. */
export function setVariable(
  tables: Tables,
  caller: Caller,
  { name, item }: { readonly name: string; readonly item: SharedItem },
): void {
  const { variables, waiting } = tables.coordination;
  const wrong = nameProblem(variables, 'variable', name);
  if (wrong !== null) {
    refuse(tables, caller, wrong);
    return;
  }
  const kept = keepItem(tables, caller.holder, `variable ${name}`, item);
  if (!isKept(kept)) {
    refuse(tables, caller, kept);
    return;
  }
  const variable = findOrAdd(tables, name);
  if (variable.item !== null) dropItem(tables, variable.item);
  variable.item = kept;
  answer(tables, caller, null);
  for (const [waiter, ids] of variable.line) {
    waiting.delete(waiter);
    handOut(tables, waiter, [kept], ids);
  }
  variable.line.clear();
}

/** Answers with its value once there is one. */
export function getVariable(
  tables: Tables,
  caller: Caller,
  wish: { readonly name: string; readonly timeoutMs: number | null; readonly ids: ReservedIds },
): void {
  const { name, timeoutMs, ids } = wish;
  const { variables } = tables.coordination;
  const present = variables.get(name)?.item ?? null;
  if (present !== null) {
    handOut(tables, caller, [present], ids);
    return;
  }
  const wrong = nameProblem(variables, 'variable', name);
  if (wrong !== null) {
    refuse(tables, caller, wrong);
    return;
  }
  const variable = findOrAdd(tables, name);
  const leave = (): void => {
    if (waiter !== null) variable.line.delete(waiter);
    if (variable.item === null && variable.line.size === 0) variables.delete(name);
  };
  const what = `variable ${name}`;
  const waiter = wait(tables, caller, { what, timeoutMs, isFalseWhenLate: false, leave });
  if (waiter === null) leave();
  else variable.line.set(waiter, ids);
}

/** Takes it away. */
export function deleteVariable(tables: Tables, caller: Caller, name: string): void {
  const { variables } = tables.coordination;
  const item = variables.get(name)?.item ?? null;
  if (item !== null) {
    dropItem(tables, item);
    variables.delete(name);
  }
  answer(tables, caller, item !== null);
}

function findOrAdd(tables: Tables, name: string): SharedVariable {
  const { variables } = tables.coordination;
  let variable = variables.get(name);
  if (variable === undefined) variables.set(name, (variable = { item: null, line: new Map() }));
  return variable;
}
