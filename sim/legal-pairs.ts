/** What can happen to a task, by its state: what the simulator must have seen. */

/** Events about tasks, and the states a task may be in when they come. */
const STATES_BY_EVENT: Readonly<Record<string, string>> = {
  submit: 'waiting queued no-worker processing memory erred released',
  release: 'waiting queued no-worker processing memory erred',
  cancel: 'waiting queued no-worker processing memory erred',
  retry: 'waiting queued no-worker processing memory erred',
  'get-result': 'memory erred',
  'client-lost': 'waiting queued no-worker processing memory erred',
  'close-client': 'waiting queued no-worker processing memory erred',
  finished: 'processing released forgotten',
  'run-failed': 'processing released forgotten',
  stopped: 'processing released forgotten',
  'input-missing': 'processing',
  holding: 'processing memory released forgotten',
  leaving: 'processing memory',
  'worker-lost': 'processing memory released forgotten',
  'worker-connected': 'queued no-worker',
};

/** `state × event`. */
export const LEGAL_PAIRS: readonly string[] = Object.entries(STATES_BY_EVENT).flatMap(
  ([event, states]) => states.split(' ').map((state) => `${state} × ${event}`),
);

const STATES_AFTER: Readonly<Record<string, string>> = {
  released: 'waiting queued no-worker forgotten',
  waiting: 'queued no-worker memory erred released',
  queued: 'waiting no-worker processing released forgotten',
  'no-worker': 'waiting queued released forgotten',
  processing: 'memory erred waiting released',
  memory: 'released',
  erred: 'released',
};

/** `from → to`: the edges of the scheduler's table, and what workers report. */
export const LEGAL_TRANSITIONS: readonly string[] = Object.entries(STATES_AFTER).flatMap(
  ([from, states]) => states.split(' ').map((to) => `${from} → ${to}`),
);
