/** What clients share through the scheduler: locks, events, queues, variables, topics, … */

/** A value on its way in: encoded, with the client's ids of the futures inside it. */
export interface SharedItem {
  readonly value: Uint8Array;
  /** In order of reference, as in the arguments of a task. */
  readonly futures: readonly number[];
}

/**
 * Ids the asker sets aside for the futures of what it gets. It gets the first of them, in order of
 * reference; the others stay free.
 */
export interface ReservedIds {
  readonly first: number;
  readonly count: number;
}

/** A value on its way out, with the futures inside it as the asker's own. */
export interface ReceivedItem {
  readonly value: Uint8Array;
  /** The asker's ids, out of those it reserved; one that occurs twice in a value has one id. */
  readonly ids: readonly number[];
  readonly keys: readonly string[];
}

/**
 * Items got; with `needed` set nothing was taken, since they hold that many futures and fewer ids
 * were reserved: ask again with more.
 */
export interface ReceivedItems {
  readonly items: readonly ReceivedItem[];
  readonly needed: number | null;
}

/** One event of a topic. */
export interface TopicRecord {
  /** Scheduler clock, milliseconds since the epoch. */
  readonly atMs: number;
  readonly value: Uint8Array;
}

/** A value of the metadata, and where it is below the path that was asked for. */
export interface MetadataEntry {
  readonly path: readonly string[];
  readonly value: Uint8Array;
}

/** An operation on one name. */
interface Named {
  readonly name: string;
}

/** One lease: `lease` is the asker's own number of it, unique in its session. */
interface Leased extends Named {
  readonly lease: number;
}

/** How long to wait; null means without end. */
interface Patient {
  readonly timeoutMs: number | null;
}

/** Questions on shared state. Those with a `timeoutMs` are answered once they can be. */
export interface CoordinationQuestions {
  /** Whether the lock is the asker's; false after the timeout. First come, first served. */
  'lock-acquire': { readonly params: Leased & Patient; readonly answer: boolean };
  'lock-release': { readonly params: Leased; readonly answer: null };
  'lock-locked': { readonly params: Named; readonly answer: boolean };
  /** As `lock-acquire`, with up to `leasesMax` holders at a time. */
  'semaphore-acquire': {
    readonly params: Leased & Patient & { readonly leasesMax: number };
    readonly answer: boolean;
  };
  'semaphore-release': { readonly params: Leased; readonly answer: null };
  /** How many leases are out. */
  'semaphore-value': { readonly params: Named; readonly answer: number };
  'event-set': { readonly params: Named; readonly answer: null };
  'event-clear': { readonly params: Named; readonly answer: null };
  'event-is-set': { readonly params: Named; readonly answer: boolean };
  /** Whether it is set; false after the timeout. */
  'event-wait': { readonly params: Named & Patient; readonly answer: boolean };
  /** Answered once there is room. `sizeMax` null leaves it at what it is, at first no bound. */
  'queue-put': {
    readonly params: Named &
      Patient & { readonly item: SharedItem; readonly sizeMax: number | null };
    readonly answer: null;
  };
  /** Answered once `min` items are there, with up to `max` of them. */
  'queue-get': {
    readonly params: Named &
      Patient & { readonly min: number; readonly max: number; readonly ids: ReservedIds };
    readonly answer: ReceivedItems;
  };
  'queue-size': { readonly params: Named; readonly answer: number };
  /** Drops what is in it; those who wait are refused. */
  'queue-close': { readonly params: Named; readonly answer: null };
  'variable-set': {
    readonly params: Named & { readonly item: SharedItem };
    readonly answer: null;
  };
  /** Answered once it is set, with one item. */
  'variable-get': {
    readonly params: Named & Patient & { readonly ids: ReservedIds };
    readonly answer: ReceivedItems;
  };
  /** Whether there was one. */
  'variable-delete': { readonly params: Named; readonly answer: boolean };
  /** Without `override` a name that is taken is refused. */
  'dataset-publish': {
    readonly params: Named & { readonly item: SharedItem; readonly override: boolean };
    readonly answer: null;
  };
  /** One item, or none where there is no such dataset. */
  'dataset-get': {
    readonly params: Named & { readonly ids: ReservedIds };
    readonly answer: ReceivedItems;
  };
  'dataset-list': { readonly params: null; readonly answer: readonly string[] };
  /** Whether there was one. */
  'dataset-unpublish': { readonly params: Named; readonly answer: boolean };
  'topic-log': {
    readonly params: Named & { readonly value: Uint8Array };
    readonly answer: null;
  };
  /** From now on every event of the topic is pushed as a {@link TopicEvent}. */
  'topic-subscribe': { readonly params: Named; readonly answer: null };
  'topic-unsubscribe': { readonly params: Named; readonly answer: null };
  /** The last events, oldest first. */
  'topic-events': { readonly params: Named; readonly answer: readonly TopicRecord[] };
  /** A value at a path takes the place of all that was below it; null only takes that away. */
  'metadata-set': {
    readonly params: { readonly path: readonly string[]; readonly value: Uint8Array | null };
    readonly answer: null;
  };
  /** All values at and below a path. */
  'metadata-get': {
    readonly params: { readonly path: readonly string[] };
    readonly answer: readonly MetadataEntry[];
  };
}

/** Builds a {@link SharedItem} with the wire's key order. */
export function sharedItem(value: Uint8Array, futures: readonly number[]): SharedItem {
  return { value, futures };
}

/** Something happened in a topic that the client subscribes to. */
export interface TopicEvent {
  readonly op: 'topic-event';
  readonly topic: string;
  /** Scheduler clock, milliseconds since the epoch. */
  readonly atMs: number;
  readonly value: Uint8Array;
}

/** Builds a {@link TopicEvent}. */
export function topicEvent(topic: string, atMs: number, value: Uint8Array): TopicEvent {
  return { op: 'topic-event', topic, atMs, value };
}
