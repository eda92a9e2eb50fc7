import { LIMITS } from '../core/index.ts';
import type { CoordinationQuestions } from '../core/index.ts';
import {
  amount,
  bytes,
  flag,
  integer,
  integers,
  listOf,
  name,
  nullable,
  record,
} from './checks.ts';
import type { Check } from './checks.ts';

const item = record({ value: bytes, futures: integers });
const ids = record({ first: integer, count: integer });
const names = listOf(name);

/** Names of something nested, outermost first. */
export const path: Check = (value) => {
  const problem = names(value);
  if (problem !== undefined || !Array.isArray(value)) return problem;
  return value.length <= LIMITS.pathDepthMax ? undefined : `is deeper than ${LIMITS.pathDepthMax}`;
};

/** Checks of the parameters of the questions on shared state. */
export const COORDINATION_PARAMS: { readonly [M in keyof CoordinationQuestions]: Check } = {
  'lock-acquire': record({ name, lease: integer, timeoutMs: nullable(amount) }),
  'lock-release': record({ name, lease: integer }),
  'lock-locked': record({ name }),
  'semaphore-acquire': record({
    name,
    lease: integer,
    timeoutMs: nullable(amount),
    leasesMax: integer,
  }),
  'semaphore-release': record({ name, lease: integer }),
  'semaphore-value': record({ name }),
  'event-set': record({ name }),
  'event-clear': record({ name }),
  'event-is-set': record({ name }),
  'event-wait': record({ name, timeoutMs: nullable(amount) }),
  'queue-put': record({ name, timeoutMs: nullable(amount), item, sizeMax: nullable(integer) }),
  'queue-get': record({ name, timeoutMs: nullable(amount), min: integer, max: integer, ids }),
  'queue-size': record({ name }),
  'queue-close': record({ name }),
  'variable-set': record({ name, item }),
  'variable-get': record({ name, timeoutMs: nullable(amount), ids }),
  'variable-delete': record({ name }),
  'dataset-publish': record({ name, item, override: flag }),
  'dataset-get': record({ name, ids }),
  'dataset-list': (value) => (value === null ? undefined : 'is not null'),
  'dataset-unpublish': record({ name }),
  'topic-log': record({ name, value: bytes }),
  'topic-subscribe': record({ name }),
  'topic-unsubscribe': record({ name }),
  'topic-events': record({ name }),
  'metadata-set': record({ path, value: nullable(bytes) }),
  'metadata-get': record({ path }),
};
