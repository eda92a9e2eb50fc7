import type { ClientMessage } from './from-client.ts';
import type { WorkerMessage } from './from-worker.ts';
import type { PeerMessage } from './peer.ts';
import type { ClientBoundMessage } from './to-client.ts';
import type { WorkerBoundMessage } from './to-worker.ts';

/** Every control message. */
export type Message =
  | ClientMessage
  | ClientBoundMessage
  | WorkerBoundMessage
  | WorkerMessage
  | PeerMessage;
