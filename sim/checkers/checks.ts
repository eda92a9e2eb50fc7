import type { Oracle } from '../oracle.ts';
import type { Scenario } from '../scenario.ts';
import { AssignmentChecker } from './assignments.ts';
import { ExecutionChecker } from './execution.ts';
import { OutcomeChecker } from './outcomes.ts';

/** Everything that looks on while a simulation runs. Each knows only what it is shown. */
export class Checks {
  readonly assignments: AssignmentChecker;
  readonly execution: ExecutionChecker;
  readonly outcomes: OutcomeChecker;
  /** A core's own `validate` runs after so many of its batches of events. */
  readonly validateEvery: number;

  constructor(scenario: Scenario, oracle: Oracle) {
    const tasks = scenario.ops.reduce((sum, { action }) => {
      return sum + (action.kind === 'submit' ? action.tasks.length : 0);
    }, 0);
    this.validateEvery = Math.ceil((tasks + 1) / 30);
    this.execution = new ExecutionChecker(oracle);
    this.assignments = new AssignmentChecker({
      oracle,
      hasStarted: (run) => this.execution.hasStarted(run),
      areFailuresFinal: !scenario.ops.some(({ action: { kind } }) => {
        return kind === 'retry' || kind === 'share';
      }),
    });
    this.outcomes = new OutcomeChecker({
      oracle,
      allowedFailures: scenario.settings.allowedFailures,
      deathsOf: (ref) => this.assignments.deathsOf(ref),
      losses: () => this.assignments.losses,
    });
  }
}
