/** What a person sees of a run. */
import { HAPPENINGS } from './coverage.ts';
import type { Coverage } from './coverage.ts';
import { FAULT_KINDS } from './faults.ts';
import { GROWTH_FEATURE } from './growing-memory.ts';
import { LEGAL_PAIRS, LEGAL_TRANSITIONS } from './legal-pairs.ts';
import type { RunReport } from './run.ts';
import { formatParts } from './shrink.ts';
import type { Shrunk } from './shrink.ts';
import { MEMORY_FEATURE, WORKLOAD_FEATURES } from './workload/workload-options.ts';

/** The one command that runs this again. */
export function replayCommand(
  seed: number,
  options: { left: Iterable<string>; large: boolean },
): string {
  const left = formatParts(options.left);
  const size = options.large ? ' --large' : '';
  return `npm run sim -- --seed ${seed}${size}${left === '' ? '' : ` --without ${left}`}`;
}

/** A failure with everything that helps: what, where, how to see it again, the last events. */
export function formatFailure(
  report: RunReport,
  options: { readonly shrunk: Shrunk | null; readonly large: boolean },
): string {
  const { failure, seed } = report;
  if (failure === null) return `seed ${seed} is clean`;
  const { shrunk, large } = options;
  const lines = [
    `seed ${seed} FAILED in the ${failure.phase} phase, at ${failure.atMs.toFixed(3)} virtual ms`,
    `  [${failure.checker}] ${failure.message}`,
    ...failure.stack.split('\n').slice(1, 5),
    '  last events:',
    ...report.lastEvents.map((line) => `  ${line}`),
    `  again: ${replayCommand(seed, { left: shrunk?.left ?? [], large })}`,
  ];
  if (shrunk !== null) lines.push(`  (shrunk to ${shrunk.parts} parts in ${shrunk.runs} runs)`);
  return lines.join('\n');
}

/** Which faults, features, transitions and pairs of state and event were seen, and which not. */
export function formatCoverage(coverage: Coverage): string {
  const { faults, features, happenings, transitions, pairs } = coverage;
  return [
    table('Faults', Object.keys(FAULT_KINDS), faults),
    table(
      'Features of the workload',
      [...WORKLOAD_FEATURES, MEMORY_FEATURE, GROWTH_FEATURE],
      features,
    ),
    table('Other happenings', HAPPENINGS, happenings),
    table('Transitions of tasks', LEGAL_TRANSITIONS, transitions),
    table('State of a task × event', LEGAL_PAIRS, pairs),
  ].join('\n\n');
}

/** What has not been seen. */
export function unseen(coverage: Coverage): string[] {
  const { faults, happenings, transitions, pairs } = coverage;
  return [
    ...Object.keys(FAULT_KINDS).filter((kind) => !faults.has(kind)),
    ...HAPPENINGS.filter((what) => !happenings.has(what)),
    ...LEGAL_TRANSITIONS.filter((change) => !transitions.has(change)),
    ...LEGAL_PAIRS.filter((pair) => !pairs.has(pair)),
  ];
}

function table(
  title: string,
  expected: readonly string[],
  counts: ReadonlyMap<string, number>,
): string {
  const seen = expected.filter((name) => counts.has(name)).length;
  const width = Math.max(...expected.map(({ length }) => length));
  const rows = expected.map((name) => {
    const count = counts.get(name) ?? 0;
    return `  ${name.padEnd(width)} ${String(count).padStart(9)}${count === 0 ? '  not seen' : ''}`;
  });
  return [`${title}: ${seen} of ${expected.length} seen`, ...rows].join('\n');
}
