import type { SharedEvent } from './events.ts';
import { KeptItems } from './items.ts';
import type { KeptItem } from './items.ts';
import type { MetadataNode } from './metadata.ts';
import type { SharedQueue } from './queues.ts';
import type { Semaphore } from './semaphores.ts';
import type { Topic } from './topics.ts';
import type { SharedVariable } from './variables.ts';
import { Waiting } from './waiting.ts';

/**
 * What clients share through the scheduler, by kind and name. A name with nothing in it is not
 * there. Locks and semaphores end with their holders; events, queues and topics with the last
 * client; variables, datasets and metadata stay until they are taken away. Holds no logic.
 */
export class Coordination {
  readonly locks: Map<string, Semaphore> = new Map();
  readonly semaphores: Map<string, Semaphore> = new Map();
  readonly events: Map<string, SharedEvent> = new Map();
  readonly queues: Map<string, SharedQueue> = new Map();
  readonly variables: Map<string, SharedVariable> = new Map();
  readonly datasets: Map<string, KeptItem> = new Map();
  readonly topics: Map<string, Topic> = new Map();
  readonly metadata: MetadataNode = new Map();
  /** Values in the metadata. */
  metadataCount = 0;
  readonly items: KeptItems = new KeptItems();
  readonly waiting: Waiting = new Waiting();
}
