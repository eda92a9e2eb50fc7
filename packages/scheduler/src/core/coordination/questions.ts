/** The questions on shared state, each with who answers it. */
import type { Ask, CoordinationQuestions } from '@farm/protocol/core';

import type { ClientState } from '../state.ts';
import type { Tables } from '../tables.ts';
import { answer } from './answers.ts';
import type { Caller } from './answers.ts';
import { getDataset, listDatasets, publishDataset, unpublishDataset } from './datasets.ts';
import { clearEvent, setEvent, waitForEvent } from './events.ts';
import { getMetadata, setMetadata } from './metadata.ts';
import { closeQueue, getItems, putItem, queueSize } from './queues.ts';
import { acquire, leasesHeld, releaseLease } from './semaphores.ts';
import { holderOf } from './sessions.ts';
import { logEvent, subscribe, topicHistory, unsubscribe } from './topics.ts';
import { deleteVariable, getVariable, setVariable } from './variables.ts';

/** A question on shared state. */
export type CoordinationAsk = Extract<Ask, { readonly method: keyof CoordinationQuestions }>;

/** Answers a question on shared state, at once or when its condition holds. */
export function takeCoordination(
  tables: Tables,
  client: ClientState,
  message: CoordinationAsk,
): void {
  const { request } = message;
  const caller: Caller = { holder: holderOf(client), request };
  switch (message.method) {
    case 'lock-acquire':
      return acquire(tables, 'lock', caller, { ...message.params, leasesMax: 1 });
    case 'lock-release':
      return releaseLease(tables, 'lock', caller, message.params);
    case 'lock-locked':
      return answer(tables, caller, leasesHeld(tables, 'lock', message.params.name) > 0);
    case 'semaphore-acquire':
      return acquire(tables, 'semaphore', caller, message.params);
    case 'semaphore-release':
      return releaseLease(tables, 'semaphore', caller, message.params);
    case 'semaphore-value':
      return answer(tables, caller, leasesHeld(tables, 'semaphore', message.params.name));
    case 'event-set':
      return setEvent(tables, caller, message.params.name);
    case 'event-clear':
      return clearEvent(tables, caller, message.params.name);
    case 'event-is-set': {
      const event = tables.coordination.events.get(message.params.name);
      return answer(tables, caller, event?.isSet === true);
    }
    case 'event-wait':
      return waitForEvent(tables, caller, message.params);
    case 'queue-put':
      return putItem(tables, caller, message.params);
    case 'queue-get':
      return getItems(tables, caller, message.params);
    case 'queue-size':
      return answer(tables, caller, queueSize(tables, message.params.name));
    case 'queue-close':
      closeQueue(tables, message.params.name);
      return answer(tables, caller, null);
    case 'variable-set':
      return setVariable(tables, caller, message.params);
    case 'variable-get':
      return getVariable(tables, caller, message.params);
    case 'variable-delete':
      return deleteVariable(tables, caller, message.params.name);
    case 'dataset-publish':
      return publishDataset(tables, caller, message.params);
    case 'dataset-get':
      return getDataset(tables, caller, message.params);
    case 'dataset-list':
      return listDatasets(tables, caller);
    case 'dataset-unpublish':
      return unpublishDataset(tables, caller, message.params.name);
    case 'topic-log':
      return logEvent(tables, caller, message.params);
    case 'topic-subscribe':
      return subscribe(tables, caller, message.params.name);
    case 'topic-unsubscribe':
      return unsubscribe(tables, caller, message.params.name);
    case 'topic-events':
      return topicHistory(tables, caller, message.params.name);
    case 'metadata-set':
      return setMetadata(tables, caller, message.params);
    case 'metadata-get':
      return getMetadata(tables, caller, message.params);
    default:
      message satisfies never;
  }
}
