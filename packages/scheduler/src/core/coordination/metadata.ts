/** Metadata: values under paths of names. */
import { LIMITS } from '@farm/protocol/core';
import type { MetadataEntry } from '@farm/protocol/core';

import type { Tables } from '../tables.ts';
import { answer, problem, refuse } from './answers.ts';
import type { Caller } from './answers.ts';
import { bytesProblem, dropBytes, keepBytes } from './items.ts';

/** What is below a path. Never empty, but for the root. */
export type MetadataNode = Map<string, Uint8Array | MetadataNode>;

/** Puts a value at a path, in place of all at and below it; null only takes that away. */
export function setMetadata(
  tables: Tables,
  caller: Caller,
  { path, value }: { readonly path: readonly string[]; readonly value: Uint8Array | null },
): void {
  const { coordination } = tables;
  const what = `metadata ${path.join('.')}`;
  if (value !== null) {
    let wrong = bytesProblem(tables, what, value.byteLength);
    if (path.length === 0) {
      wrong = problem('ERR_ARGUMENT', 'metadata: a value needs a path of at least one name');
    } else if (coordination.metadataCount >= LIMITS.sharedNamesMax) {
      const count = coordination.metadataCount;
      wrong = problem('ERR_LIMIT', `${what}: there are ${count} values already (sharedNamesMax)`);
    }
    if (wrong !== null) {
      refuse(tables, caller, wrong);
      return;
    }
  }
  remove(tables, coordination.metadata, path);
  if (value !== null) {
    put(tables, coordination.metadata, path, keepBytes(tables, value));
    coordination.metadataCount += 1;
  }
  answer(tables, caller, null);
}

/** All values at and below a path. */
export function getMetadata(
  tables: Tables,
  caller: Caller,
  { path }: { readonly path: readonly string[] },
): void {
  let node: Uint8Array | MetadataNode | undefined = tables.coordination.metadata;
  for (const name of path) node = node instanceof Map ? node.get(name) : undefined;
  answer(tables, caller, node === undefined ? [] : entriesOf(node, []));
}

/** The values of a node, with their paths below it. */
export function entriesOf(
  node: Uint8Array | MetadataNode,
  path: readonly string[],
): MetadataEntry[] {
  if (!(node instanceof Map)) return [{ path, value: node }];
  return [...node].flatMap(([name, inner]) => entriesOf(inner, [...path, name]));
}

function put(tables: Tables, root: MetadataNode, path: readonly string[], value: Uint8Array): void {
  let node = root;
  for (const name of path.slice(0, -1)) {
    let inner = node.get(name);
    if (!(inner instanceof Map)) {
      if (inner !== undefined) forget(tables, inner);
      inner = new Map();
      node.set(name, inner);
    }
    node = inner;
  }
  node.set(path.at(-1) ?? '', value);
}

function remove(tables: Tables, node: MetadataNode, path: readonly string[]): void {
  const [name, ...rest] = path;
  if (name === undefined) {
    forget(tables, node);
    node.clear();
    return;
  }
  const inner = node.get(name);
  if (inner === undefined) return;
  if (rest.length === 0) {
    forget(tables, inner);
    node.delete(name);
  } else if (inner instanceof Map) {
    remove(tables, inner, rest);
    if (inner.size === 0) node.delete(name);
  }
}

function forget(tables: Tables, node: Uint8Array | MetadataNode): void {
  for (const { value } of entriesOf(node, [])) {
    dropBytes(tables, value);
    tables.coordination.metadataCount -= 1;
  }
}
