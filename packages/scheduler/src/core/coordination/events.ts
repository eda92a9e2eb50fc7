/** Events: a flag that sessions set, clear and wait for. */
import type { Tables } from '../tables.ts';
import { answer, nameProblem, refuse, wait } from './answers.ts';
import type { Caller } from './answers.ts';
import type { Waiter } from './waiting.ts';

/** A flag that is up, or that somebody waits for. */
export interface SharedEvent {
  isSet: boolean;
  readonly line: Set<Waiter>;
}

/** Raises the flag: all who wait are answered. */
export function setEvent(tables: Tables, caller: Caller, name: string): void {
  const event = findOrAdd(tables, caller, name);
  if (event === null) return;
  event.isSet = true;
  answer(tables, caller, null);
  for (const waiter of event.line) {
    tables.coordination.waiting.delete(waiter);
    answer(tables, waiter, true);
  }
  event.line.clear();
}

/** Takes the flag down: later ones wait. */
export function clearEvent(tables: Tables, caller: Caller, name: string): void {
  const { events } = tables.coordination;
  if (events.get(name)?.isSet === true) events.delete(name);
  answer(tables, caller, null);
}

/** Answers once the flag is up. */
export function waitForEvent(
  tables: Tables,
  caller: Caller,
  { name, timeoutMs }: { readonly name: string; readonly timeoutMs: number | null },
): void {
  const { events } = tables.coordination;
  const event = findOrAdd(tables, caller, name);
  if (event === null) return;
  if (event.isSet) {
    answer(tables, caller, true);
    return;
  }
  const leave = (): void => {
    if (waiter !== null) event.line.delete(waiter);
    if (event.line.size === 0) events.delete(name);
  };
  const what = `event ${name}`;
  const waiter = wait(tables, caller, { what, timeoutMs, isFalseWhenLate: true, leave });
  if (waiter === null) leave();
  else event.line.add(waiter);
}

function findOrAdd(tables: Tables, caller: Caller, name: string): SharedEvent | null {
  const { events } = tables.coordination;
  const found = events.get(name);
  if (found !== undefined) return found;
  const wrong = nameProblem(events, 'event', name);
  if (wrong !== null) {
    refuse(tables, caller, wrong);
    return null;
  }
  const event: SharedEvent = { isSet: false, line: new Set() };
  events.set(name, event);
  return event;
}
