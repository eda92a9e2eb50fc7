/** Published datasets: futures under a name, which outlive the client that made them. */
import type { ReservedIds, SharedItem } from '@farm/protocol/core';

import type { Tables } from '../tables.ts';
import { answer, nameProblem, problem, refuse } from './answers.ts';
import type { Caller } from './answers.ts';
import { dropItem, handOut, isKept, keepItem } from './items.ts';

/** Publishes it; one that is there is only replaced with `override`. */
export function publishDataset(
  tables: Tables,
  caller: Caller,
  wish: { readonly name: string; readonly item: SharedItem; readonly override: boolean },
): void {
  const { name, item, override } = wish;
  const { datasets } = tables.coordination;
  const before = datasets.get(name);
  if (before !== undefined && !override) {
    const why = `dataset ${name} is published already: unpublish it first, or override it`;
    refuse(tables, caller, problem('ERR_ARGUMENT', why));
    return;
  }
  const wrong = nameProblem(datasets, 'dataset', name);
  const kept = wrong ?? keepItem(tables, caller.holder, `dataset ${name}`, item);
  if (!isKept(kept)) {
    refuse(tables, caller, kept);
    return;
  }
  datasets.set(name, kept);
  if (before !== undefined) dropItem(tables, before);
  answer(tables, caller, null);
}

/** Hands it out; nothing where there is none. */
export function getDataset(
  tables: Tables,
  caller: Caller,
  { name, ids }: { readonly name: string; readonly ids: ReservedIds },
): void {
  const dataset = tables.coordination.datasets.get(name);
  handOut(tables, caller, dataset === undefined ? [] : [dataset], ids);
}

/** Their names, in order of publication. */
export function listDatasets(tables: Tables, caller: Caller): void {
  answer(tables, caller, [...tables.coordination.datasets.keys()]);
}

/** Takes it away. */
export function unpublishDataset(tables: Tables, caller: Caller, name: string): void {
  const { datasets } = tables.coordination;
  const dataset = datasets.get(name);
  if (dataset !== undefined) dropItem(tables, dataset);
  answer(tables, caller, datasets.delete(name));
}
