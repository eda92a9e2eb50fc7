import type { ClientAction } from '../scenario.ts';

/** Something a client does at a time. */
export interface DrawnOp {
  readonly atMs: number;
  readonly client: number;
  readonly action: ClientAction;
}
