/** What all parts of a simulation share. */
import type { Checks } from './checkers/checks.ts';
import type { Clock } from './clock.ts';
import type { Cores } from './cores.ts';
import type { Coverage } from './coverage.ts';
import type { Network } from './network.ts';
import type { Oracle } from './oracle.ts';
import type { Scenario } from './scenario.ts';
import type { Trace } from './trace.ts';
import type { Payload } from './wire.ts';

/** Where the scheduler listens. */
export const SCHEDULER_ADDRESS = 'tcp://scheduler-host:8786';
/** Its machine. */
export const SCHEDULER_HOST = 'scheduler-host';
/** How often workers and clients say that they are alive, and the scheduler's clock ticks. */
export const HEARTBEAT_MS = 500;

/** The surroundings of every simulated process. */
export interface World {
  readonly scenario: Scenario;
  readonly cores: Cores;
  readonly clock: Clock;
  readonly network: Network<Payload>;
  readonly oracle: Oracle;
  readonly trace: Trace;
  readonly coverage: Coverage;
  readonly checks: Checks;
}
