import type { Session } from './session.ts';

/** A future by what it consists of: its client's session and its number there. */
export interface FutureLocation {
  readonly session: Session;
  readonly id: number;
  /** The future itself. */
  readonly future: { readonly key: string };
  /** Where the program submitted its function first, if that is known. */
  readonly site: string | undefined;
}
