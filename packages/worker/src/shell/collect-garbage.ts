import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collect: ((options?: { readonly type: 'minor' }) => void) | undefined;

/**
 * Gives the memory of what is no longer used back to the system. The bytes of values lie outside of
 * the engine's heap, which knows little of their weight, so they may stay for long otherwise.
 */
export function collectGarbage(): void {
  exposed()();
}

/** The same for what was made lately, in little time: chunks that have been sent, for example. */
export function collectYoungGarbage(): void {
  exposed()({ type: 'minor' });
}

function exposed(): NonNullable<typeof collect> {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    const gc: unknown = runInNewContext('gc');
    // SAFE: the flag makes the engine provide it.
    collect = gc as NonNullable<typeof collect>;
  }
  return collect;
}
