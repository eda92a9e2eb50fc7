import type {
  SchedulerEvent,
  SchedulerInstruction,
} from '../../packages/scheduler/src/core/index.ts';
import type { Oracle } from '../oracle.ts';
import type { Scenario } from '../scenario.ts';
import { AssignmentChecker } from './assignments.ts';
import { ExecutionChecker } from './execution.ts';
import { LeaseChecker } from './leases.ts';
import { OutcomeChecker } from './outcomes.ts';
import { RetirementChecker } from './retirements.ts';

/** Everything that looks on while a simulation runs. Each knows only what it is shown. */
export class Checks {
  readonly assignments: AssignmentChecker;
  readonly execution: ExecutionChecker;
  readonly outcomes: OutcomeChecker;
  readonly leases: LeaseChecker = new LeaseChecker();
  readonly retirements: RetirementChecker = new RetirementChecker();
  /** A core's own `validate` runs after so many of its batches of events. */
  readonly validateEvery: number;

  constructor(scenario: Scenario, oracle: Oracle) {
    const tasks = scenario.ops.reduce((sum, { action }) => {
      return sum + ('tasks' in action ? action.tasks.length : 0);
    }, 0);
    this.validateEvery = Math.ceil((tasks + 1) / 30);
    const isNothingRetried = !scenario.ops.some(({ action }) => action.kind === 'retry');
    this.execution = new ExecutionChecker(oracle, { areFailuresFinal: isNothingRetried });
    this.assignments = new AssignmentChecker({
      oracle,
      hasStarted: (run) => this.execution.hasStarted(run),
      isFailureFinal: (ref) => isNothingRetried && oracle.isSubmittedOnce(ref),
    });
    this.outcomes = new OutcomeChecker({
      oracle,
      allowedFailures: scenario.settings.allowedFailures,
      deathsOf: (ref) => this.assignments.deathsOf(ref),
      losses: () => this.assignments.losses,
    });
  }
  /** The scheduler is about to hear a batch. */
  schedulerHears(events: readonly SchedulerEvent[]): void {
    this.assignments.beginBatch();
    for (const event of events) {
      this.assignments.event(event);
      this.retirements.event(event);
      this.leases.event(event);
    }
  }

  /** What the scheduler answers to it. */
  schedulerSays(instructions: readonly SchedulerInstruction[]): void {
    this.assignments.instructions(instructions);
    this.retirements.instructions(instructions);
    this.leases.instructions(instructions);
  }
}
