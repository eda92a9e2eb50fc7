/** How a connection opens: JSON text frames, readable by every version. */
import type { ErrorCode } from '../errors.ts';
import type { ResourceAmounts } from './records.ts';

/** Peers with different numbers refuse each other at the handshake. */
export const PROTOCOL_VERSION = 1;

/** What a connection may say. Client and worker have different tokens; peers are workers. */
export type Role = 'client' | 'worker' | 'peer';

/** First frame of a client. */
export interface ClientHello {
  readonly op: 'hello';
  readonly role: 'client';
  readonly protocol: number;
  /** Package version, for messages to humans. */
  readonly version: string;
  /** Random name of this process's session; a reconnect repeats it. */
  readonly incarnation: string;
  readonly name: string;
  /**
   * Its share of the workers beside other clients that have tasks ready: one with 2 gets twice the
   * time of one with 1. Clients without it share one share of 1.
   */
  readonly weight?: number | null;
  /**
   * Present where the session `incarnation` goes on after its socket was lost: how many frames of
   * the scheduler have arrived in it.
   */
  readonly resume?: number;
}

/** How the process that had a worker's name before it ended, as its nanny saw it. */
export interface PreviousDeath {
  readonly pid: number;
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** Resident memory when the nanny last looked; null where it could not. */
  readonly rssBytes: number | null;
  /** The last lines it wrote to its standard error. */
  readonly logTail: string;
}

/** First frame of a worker towards the scheduler. */
export interface WorkerHello {
  readonly op: 'hello';
  readonly role: 'worker';
  readonly protocol: number;
  readonly version: string;
  readonly incarnation: string;
  readonly name: string;
  /** Execution slots. */
  readonly nthreads: number;
  readonly resources: ResourceAmounts;
  /**
   * Which of the resources stand for devices, each for as many as its amount rounded up: of the last
   * one it may be only a part.
   */
  readonly devices?: readonly string[];
  /** Null means no limit. */
  readonly memoryLimitBytes: number | null;
  /** Where peers reach this worker's data, `tcp://host:port`; null where they cannot. */
  readonly address: string | null;
  readonly host: string;
  readonly pid: number;
  readonly localDirectory: string;
  readonly nanny: boolean;
  /** As in {@link ClientHello}. */
  readonly resume?: number;
  /** Where a nanny started this process since the one before died. */
  readonly previousDeath?: PreviousDeath | null;
}

/** First frame of a worker towards another worker. */
export interface PeerHello {
  readonly op: 'hello';
  readonly role: 'peer';
  readonly protocol: number;
  readonly version: string;
  readonly incarnation: string;
  readonly name: string;
}

/** What opens a connection. */
export type Hello = ClientHello | WorkerHello | PeerHello;

/** The accepting answer to a hello. */
export interface Welcome {
  readonly op: 'welcome';
  readonly protocol: number;
  readonly version: string;
  /** Identity of the answering scheduler or worker; changes at every start. */
  readonly id: string;
  /** How often the dialing side says it is alive. */
  readonly heartbeatMs: number;
  /** How long the session is kept for the dialing side to come back after its socket was lost. */
  readonly leaseMs: number;
  /** How many frames of the dialing side have arrived, in a session that goes on; else 0. */
  readonly received: number;
}

/** The refusing answer to a hello; the connection closes after it. */
export interface Refusal {
  readonly op: 'refusal';
  readonly protocol: number;
  readonly version: string;
  readonly code: ErrorCode;
  readonly message: string;
}
