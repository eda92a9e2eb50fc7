/** What a session leaves behind when it is gone. */
import type { ClientState } from '../state.ts';
import type { Tables } from '../tables.ts';
import { closeQueue } from './queues.ts';
import { dropLeases } from './semaphores.ts';
import { dropSubscriptions, dropTopics } from './topics.ts';

/** The session that leases, subscriptions and waiting requests of a client belong to. */
export function holderOf(client: ClientState): string {
  return client.session;
}

/**
 * A client is gone, and is in no table any more: what it waits for is withdrawn, its leases go to
 * those next in line. With the last client go events, queues and topics.
 */
export function dropHolder(tables: Tables, holder: string): void {
  const { waiting, events, queues } = tables.coordination;
  for (const waiter of waiting.of(holder)) {
    if (waiting.delete(waiter)) waiter.leave();
  }
  dropLeases(tables, holder);
  dropSubscriptions(tables, holder);
  if (tables.clients.size > 0) return;
  events.clear();
  for (const name of [...queues.keys()]) closeQueue(tables, name);
  dropTopics(tables);
}

/** How many shared objects there are, values of the metadata included. */
export function sharedCount({ coordination }: Tables): number {
  const { locks, semaphores, events, queues, variables, datasets, topics } = coordination;
  const tables = [locks, semaphores, events, queues, variables, datasets, topics];
  return tables.reduce((sum, { size }) => sum + size, coordination.metadataCount);
}
