import type {
  ClientBoundMessage,
  ClientMessage,
  PeerMessage,
  Role,
  WorkerBoundMessage,
  WorkerMessage,
} from '../core/index.ts';
import type { Connection } from '../connection.ts';
import type { Speaker } from '../codec/check-message.ts';

/** The connection of each role as the dialing side holds it. */
export interface DialedConnections {
  readonly client: Connection<ClientBoundMessage, ClientMessage>;
  readonly worker: Connection<WorkerBoundMessage, WorkerMessage>;
  readonly peer: Connection<PeerMessage, PeerMessage>;
}

/** The connection of each role as the listening side holds it. */
export interface AcceptedConnections {
  readonly client: Connection<ClientMessage, ClientBoundMessage>;
  readonly worker: Connection<WorkerMessage, WorkerBoundMessage>;
  readonly peer: Connection<PeerMessage, PeerMessage>;
}

/** Who speaks to the listening side. */
export const SPEAKER_TO_SERVER: { readonly [R in Role]: Speaker } = {
  client: 'client',
  worker: 'worker',
  peer: 'peer',
};

/** Who speaks to the dialing side. */
export const SPEAKER_TO_DIALER: { readonly [R in Role]: Speaker } = {
  client: 'client-bound',
  worker: 'worker-bound',
  peer: 'peer',
};
