/** Something that must hold does not: what a seed is run for. */
export class SimulationFailure extends Error {
  /** Which checker found it. */
  readonly checker: string;

  constructor(checker: string, message: string) {
    super(message);
    this.name = 'SimulationFailure';
    this.checker = checker;
  }
}

/**
 * Stops the simulation where something does not hold.
 *
 * @throws SimulationFailure
 */
export function check(condition: unknown, checker: string, message: string): asserts condition {
  if (!condition) throw new SimulationFailure(checker, message);
}
