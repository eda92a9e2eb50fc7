/** Topics: events that subscribers are told of, and the last of which are remembered. */
import { LIMITS, topicEvent } from '@farm/protocol/core';
import type { TopicRecord } from '@farm/protocol/core';

import { Fifo } from '../collections/fifo.ts';
import type { Tables } from '../tables.ts';
import { answer, nameProblem, refuse } from './answers.ts';
import type { Caller } from './answers.ts';
import { bytesProblem, dropBytes, keepBytes } from './items.ts';

/** A topic with a history or with subscribers. */
export interface Topic {
  readonly history: Fifo<TopicRecord>;
  /** Sessions. */
  readonly subscribers: Set<string>;
}

/** Writes an event down and tells all subscribers. */
export function logEvent(
  tables: Tables,
  caller: Caller,
  { name, value }: { readonly name: string; readonly value: Uint8Array },
): void {
  const { topics } = tables.coordination;
  const wrong = nameProblem(topics, 'topic', name) ?? makeRoom(tables, name, value.byteLength);
  if (wrong !== null) {
    refuse(tables, caller, wrong);
    return;
  }
  const topic = findOrAdd(tables, name);
  const { nowMs: atMs } = tables;
  const kept = keepBytes(tables, value);
  topic.history.push({ atMs, value: kept });
  answer(tables, caller, null);
  for (const holder of topic.subscribers) {
    const client = tables.clients.get(holder);
    if (client !== undefined) tables.outbox.toClient(client, topicEvent(name, atMs, kept));
  }
}

/** The session is told of every event from now on. */
export function subscribe(tables: Tables, caller: Caller, name: string): void {
  const wrong = nameProblem(tables.coordination.topics, 'topic', name);
  if (wrong !== null) {
    refuse(tables, caller, wrong);
    return;
  }
  findOrAdd(tables, name).subscribers.add(caller.holder);
  answer(tables, caller, null);
}

/** It is not any more. */
export function unsubscribe(tables: Tables, caller: Caller, name: string): void {
  dropSubscriber(tables, name, caller.holder);
  answer(tables, caller, null);
}

/** The last events of a topic, oldest first. */
export function topicHistory(tables: Tables, caller: Caller, name: string): void {
  answer(tables, caller, [...(tables.coordination.topics.get(name)?.history ?? [])]);
}

/** A session is gone. */
export function dropSubscriptions(tables: Tables, holder: string): void {
  for (const name of tables.coordination.topics.keys()) dropSubscriber(tables, name, holder);
}

/** Forgets all topics. */
export function dropTopics(tables: Tables): void {
  const { topics } = tables.coordination;
  for (const { history } of topics.values()) {
    for (const { value } of history) dropBytes(tables, value);
  }
  topics.clear();
}

/** Forgets the oldest events of the topic as far as needed; says why that does not help. */
function makeRoom(tables: Tables, name: string, size: number): ReturnType<typeof bytesProblem> {
  const history = tables.coordination.topics.get(name)?.history;
  const forget = (): boolean => {
    const oldest = size > LIMITS.sharedValueBytesMax ? undefined : history?.shift();
    if (oldest !== undefined) dropBytes(tables, oldest.value);
    return oldest !== undefined;
  };
  if (history?.size === LIMITS.topicEventsMax) forget();
  for (;;) {
    const wrong = bytesProblem(tables, `topic ${name}`, size);
    if (wrong === null || !forget()) return wrong;
  }
}

function dropSubscriber(tables: Tables, name: string, holder: string): void {
  const { topics } = tables.coordination;
  const topic = topics.get(name);
  if (topic?.subscribers.delete(holder) !== true) return;
  if (topic.subscribers.size === 0 && topic.history.size === 0) topics.delete(name);
}

function findOrAdd(tables: Tables, name: string): Topic {
  const { topics } = tables.coordination;
  let topic = topics.get(name);
  if (topic === undefined)
    topics.set(name, (topic = { history: new Fifo(), subscribers: new Set() }));
  return topic;
}
