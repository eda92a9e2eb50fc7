import { FarmError } from '../core/errors.ts';
import { parseResources } from './resources.ts';

/** Parts of a memory limit, as `--memory-fractions` names them. 0 means never. */
export interface ParsedMemoryFractions {
  readonly target: number;
  readonly spill: number;
  readonly pause: number;
  readonly terminate: number;
}

/** Dask's. */
const DEFAULTS: ParsedMemoryFractions = { target: 0.6, spill: 0.7, pause: 0.8, terminate: 0.95 };

/**
 * Reads a worker's `--memory-fractions`: some of `target`, `spill`, `pause` and `terminate`, each
 * from 0 (never) to 1, none larger than one that comes later in this order.
 *
 * @throws FarmError `ERR_ARGUMENT` for anything else.
 *
 * @example
 * parseMemoryFractions('pause=0 terminate=0.9'); // target and spill keep their defaults
 */
export function parseMemoryFractions(text: string): ParsedMemoryFractions {
  const fractions = { ...DEFAULTS };
  for (const [name, fraction] of parseResources(text)) {
    if (name !== 'target' && name !== 'spill' && name !== 'pause' && name !== 'terminate') {
      throw refusal(`there is no ${name}`);
    }
    if (!(fraction >= 0 && fraction <= 1)) throw refusal(`${name}=${fraction} is not from 0 to 1`);
    fractions[name] = fraction;
  }
  const { target, spill, pause, terminate } = fractions;
  const used = [target, spill, pause, terminate].filter((fraction) => fraction > 0);
  if (used.some((fraction, index) => fraction < (used[index - 1] ?? 0))) {
    throw refusal(`${used.join(', ')} do not rise`);
  }
  return fractions;
}

function refusal(problem: string): FarmError {
  return new FarmError(
    'ERR_ARGUMENT',
    `${problem}; write for example target=0.6 spill=0.7 pause=0.8 terminate=0.95, in rising order`,
  );
}
