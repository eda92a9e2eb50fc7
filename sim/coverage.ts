/** What was seen over many seeds: faults, features, and what happened to tasks in which state. */
import type { Story } from '../packages/scheduler/src/core/story.ts';
import type { SchedulerEvent, SchedulerInstruction } from '../packages/scheduler/src/core/index.ts';
import type { Cores } from './cores.ts';
import type { Scenario } from './scenario.ts';

type StoryAdd = Story['add'];

/** What must have happened besides: to runs, sessions, copies, workers that retire, leases. */
export const HAPPENINGS: readonly string[] = [
  'steal',
  'kept',
  'second run',
  'more memory',
  'worker-away',
  'worker-back',
  'worker lease over',
  'client-away',
  'client-back',
  'client lease over',
  'scattered',
  'copied',
  'copies dropped',
  'copy not possible',
  'worker retired',
  'worker kept',
  'lease given',
  'lease too late',
  'item got',
  'value written to a file',
  'value evicted',
  'value given up while it is sent',
  'value loaded',
  'value served from a file',
  'file not written',
  'spilled value lost',
  'worker paused',
  'worker resumed',
];

/** Counts over many runs. */
export class Coverage {
  readonly faults: Map<string, number> = new Map();
  readonly features: Map<string, number> = new Map();
  /** `from → to`, by number of tasks. */
  readonly transitions: Map<string, number> = new Map();
  /** `state × event`, by number of tasks that were meant. */
  readonly pairs: Map<string, number> = new Map();
  /** What happens to sessions and runs, see {@link HAPPENINGS}. */
  readonly happenings: Map<string, number> = new Map();
  readonly #away = new Set<string>();
  #states = new Map<string, string>();
  #futures = new Map<string, string>();
  readonly #clientNames = new Map<string, string>();
  #keyOfRun: (session: string, run: number) => string | undefined = () => undefined;
  #keysOn: (session: string) => readonly string[] = () => [];
  #keyOfTask: (task: number) => string | undefined = () => undefined;

  /** Makes a core's story tell of every change of a task's state. */
  observe({ Story }: Cores): () => void {
    const { prototype } = Story;
    // oxlint-disable-next-line typescript/unbound-method -- it is called on its story below
    const { add } = prototype;
    const changed = (...[naming, index, end, from, to]: Parameters<StoryAdd>): void => {
      const change = `${from} → ${to}`;
      this.transitions.set(change, (this.transitions.get(change) ?? 0) + end - index);
      for (let at = index; at < end; at++) {
        const key =
          naming.indexFrom === null ? naming.key : `${naming.key}-${naming.indexFrom + at}`;
        this.#states.set(key, to);
      }
    };
    prototype.add = function (...args: Parameters<StoryAdd>): void {
      changed(...args);
      add.apply(this, args);
    };
    return () => {
      prototype.add = add;
    };
  }

  /** A new run begins. */
  reset(
    scenario: Scenario,
    lookUp: {
      readonly keyOfRun: (session: string, run: number) => string | undefined;
      /** Keys of the tasks a worker runs or holds. */
      readonly keysOn: (session: string) => readonly string[];
      readonly keyOfTask: (task: number) => string | undefined;
    },
  ): void {
    this.#states = new Map();
    this.#futures = new Map();
    this.#clientNames.clear();
    this.#away.clear();
    this.#keyOfRun = lookUp.keyOfRun;
    this.#keysOn = lookUp.keysOn;
    this.#keyOfTask = lookUp.keyOfTask;
    for (const feature of scenario.settings.features) count(this.features, feature);
  }

  /** Keys of the tasks in a state, as the scheduler's story tells. */
  keysIn(state: string): string[] {
    return [...this.#states].filter(([, is]) => is === state).map(([key]) => key);
  }

  /** A fault happens. */
  fault(kind: string): void {
    count(this.faults, kind);
  }

  /** One of {@link HAPPENINGS}. */
  happened(what: string, times = 1): void {
    count(this.happenings, what, times);
  }

  /** A client calls a task so. */
  future(client: string, id: number, key: string): void {
    this.#futures.set(`${client} ${id}`, key);
  }

  /** The scheduler is about to take these in: in which states are the tasks they are about? */
  events(events: readonly SchedulerEvent[]): void {
    for (const event of events) this.#event(event);
  }

  /** The scheduler asks for this. */
  instruction(instruction: SchedulerInstruction): void {
    if (instruction.do === 'to-worker' && instruction.message.op === 'stop') {
      const { runs, running } = instruction.message;
      if (!running) count(this.happenings, 'steal', runs.length);
    } else if (instruction.do === 'drop-worker' && this.#away.has(instruction.worker)) {
      count(this.happenings, 'worker lease over');
    } else if (instruction.do === 'drop-client' && this.#away.has(instruction.client)) {
      count(this.happenings, 'client lease over');
    }
  }

  #event(event: SchedulerEvent): void {
    switch (event.kind) {
      case 'client-away':
        this.#away.add(event.client);
        count(this.happenings, event.kind);
        break;
      case 'client-back':
        this.#away.delete(event.client);
        count(this.happenings, event.kind);
        break;
      case 'worker-away':
        this.#away.add(event.worker);
        count(this.happenings, event.kind);
        break;
      case 'worker-back':
        this.#away.delete(event.worker);
        count(this.happenings, event.kind);
        break;
      case 'client-connected':
        this.#clientNames.set(event.client, event.hello.name);
        break;
      case 'client-lost':
        this.#client(event.client, 'client-lost');
        break;
      case 'worker-connected':
        for (const [key, state] of this.#states) {
          if (state === 'queued' || state === 'no-worker') this.#pair(key, event.kind);
        }
        break;
      case 'worker-lost':
        for (const key of this.#keysOn(event.worker)) this.#pair(key, event.kind);
        break;
      case 'client-said':
        this.#clientSaid(event);
        break;
      case 'worker-said':
        this.#workerSaid(event);
        break;
      default:
    }
  }

  #clientSaid({ client, message }: Extract<SchedulerEvent, { kind: 'client-said' }>): void {
    const name = this.#clientNames.get(client) ?? '';
    const about = (id: number): void => {
      const key = this.#futures.get(`${name} ${id}`);
      if (key !== undefined) this.#pair(key, message.op);
    };
    switch (message.op) {
      case 'submit':
        for (let id = message.first; id < message.first + message.count; id++) about(id);
        break;
      case 'release':
      case 'cancel':
        for (let at = 0; at < message.ranges.length; at += 2) {
          const first = message.ranges[at] ?? 0;
          for (let id = first; id < first + (message.ranges[at + 1] ?? 0); id++) about(id);
        }
        break;
      case 'retry':
        for (const id of message.ids) about(id);
        break;
      case 'get-result':
        about(message.id);
        break;
      case 'close-client':
        this.#client(client, message.op);
        break;
      default:
    }
  }

  #workerSaid({ worker, message }: Extract<SchedulerEvent, { kind: 'worker-said' }>): void {
    const about = (run: number): void => {
      const key = this.#keyOfRun(worker, run);
      if (key === undefined) count(this.pairs, `(no run) × ${message.op}`);
      else this.#pair(key, message.op);
    };
    switch (message.op) {
      case 'finished':
      case 'seceded':
        for (const run of message.runs) about(run);
        break;
      case 'stopped':
        for (const run of message.runs) about(run);
        count(this.happenings, 'kept', message.kept.length);
        break;
      case 'run-failed':
      case 'input-missing':
        about(message.run);
        break;
      case 'holding':
        for (const task of message.tasks) {
          const key = this.#keyOfTask(task);
          if (key !== undefined) this.#pair(key, message.op);
        }
        break;
      case 'leaving':
        for (const key of this.#keysOn(worker)) this.#pair(key, message.op);
        break;
      default:
    }
  }

  #client(session: string, event: string): void {
    const name = `${this.#clientNames.get(session) ?? ''} `;
    for (const [future, key] of this.#futures) if (future.startsWith(name)) this.#pair(key, event);
  }

  #pair(key: string, event: string): void {
    count(this.pairs, `${this.#states.get(key) ?? 'unknown'} × ${event}`);
  }
}

function count(counts: Map<string, number>, what: string, times = 1): void {
  if (times > 0) counts.set(what, (counts.get(what) ?? 0) + times);
}
