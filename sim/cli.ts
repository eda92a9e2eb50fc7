/**
 * The simulator's command line.
 *
 * @example npm run sim -- --seeds 2000            // many seeds, then a table of what was seen
 * @example npm run sim -- --seed 17               // one seed, twice: is it the same both times?
 * @example npm run sim -- --planted               // does it find the planted bugs?
 */
import { parseArgs } from 'node:util';

import { loadCores } from './cores.ts';
import type { Cores } from './cores.ts';
import { Coverage } from './coverage.ts';
import { LARGE, makeScenario, SMALL } from './make-scenario.ts';
import type { Profile } from './make-scenario.ts';
import { PLANTED_BUGS } from './planted/bugs.ts';
import { hunt } from './planted/hunt.ts';
import { formatCoverage, formatFailure, unseen } from './report.ts';
import { runScenario } from './run.ts';
import type { RunReport } from './run.ts';
import { without } from './scenario.ts';
import type { Scenario } from './scenario.ts';
import { parseParts, shrink } from './shrink.ts';

/** So many seeds see everything that is legal. */
const SEEDS_FOR_ALL = 2_000;

const USAGE = `npm run sim -- [options]
  --seeds N       run N seeds (default 200), then print what was seen; from ${SEEDS_FOR_ALL} on,
                  something legal that was not seen is a failure
  --first S       the first of them (default 1)
  --minutes M     stop after so long at the latest
  --seed S        run one seed twice and compare the traces
  --without P     leave out parts of the scenario, as a failure's replay command says: o3-9,f1,w0
  --large         up to 32 workers and 5000 tasks, instead of 4 and 300
  --planted       plant each bug of sim/planted/bugs.ts and run seeds until it is found
  --bug NAME      with --planted: only those whose name contains this
  --no-shrink     print failures as they are`;

/** Failures that are shown in full; more of them rarely tell more. */
const FAILURES_SHOWN = 3;
/** Longest time for one planted bug. */
const HUNT_MS = 300_000;

interface Options {
  readonly profile: Profile;
  readonly large: boolean;
  readonly isShrinking: boolean;
}

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  let values;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        seeds: { type: 'string' },
        first: { type: 'string' },
        minutes: { type: 'string' },
        seed: { type: 'string' },
        without: { type: 'string' },
        bug: { type: 'string' },
        large: { type: 'boolean', default: false },
        planted: { type: 'boolean', default: false },
        'no-shrink': { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
    return 2;
  }
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const { large } = values;
  const options = { large, profile: large ? LARGE : SMALL, isShrinking: !values['no-shrink'] };
  try {
    const first = number('--first', values.first, 1);
    const seeds = number('--seeds', values.seeds, values.planted ? 20_000 : 200);
    const minutes = number('--minutes', values.minutes, Infinity);
    if (values.planted) return await findPlanted(options, { first, seeds, name: values.bug ?? '' });
    const cores = await loadCores();
    if (values.seed === undefined) return runMany(cores, options, { first, seeds, minutes });
    const left = parseParts(values.without ?? '');
    const seed = number('--seed', values.seed, 1);
    return runOne(cores, options, without(makeScenario(seed, options.profile), left), left);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    console.error(error.message);
    return 2;
  }
}

/** One seed, twice. */
function runOne(
  cores: Cores,
  { large }: Options,
  scenario: Scenario,
  left: ReadonlySet<string>,
): number {
  const first = runScenario(scenario, cores);
  const second = runScenario(scenario, cores);
  const shrunk = { left, parts: 0, runs: 0 };
  console.log(
    formatFailure(first, {
      shrunk: first.failure === null || left.size === 0 ? null : shrunk,
      large,
    }),
  );
  console.log(
    `trace ${first.traceHash}: ${first.events} events, ${first.runs} runs, ` +
      `${(first.simulatedMs / 1_000).toFixed(1)} virtual seconds`,
  );
  if (first.traceHash !== second.traceHash) {
    console.log(`NOT DETERMINISTIC: the second time the trace is ${second.traceHash}`);
    return 1;
  }
  return first.failure === null ? 0 : 1;
}

function runMany(
  cores: Cores,
  options: Options,
  { first, seeds, minutes }: { first: number; seeds: number; minutes: number },
): number {
  const coverage = new Coverage();
  const startedMs = performance.now();
  const startedCpu = process.cpuUsage();
  const failed: RunReport[] = [];
  let events = 0;
  let simulatedMs = 0;
  let done = 0;
  while (done < seeds && performance.now() - startedMs < minutes * 60_000) {
    const scenario = makeScenario(first + done, options.profile);
    const report = runScenario(scenario, cores, coverage);
    done += 1;
    events += report.events;
    simulatedMs += report.simulatedMs;
    if (report.failure === null) continue;
    failed.push(report);
    if (failed.length <= FAILURES_SHOWN) showFailure(cores, options, scenario, report);
  }
  const seconds = (performance.now() - startedMs) / 1_000;
  const { user, system } = process.cpuUsage(startedCpu);
  console.log(formatCoverage(coverage));
  // A few seeds cannot have seen everything; many that have not do not test what they should.
  const missing = done < SEEDS_FOR_ALL ? null : unseen(coverage);
  console.log(
    `\n${done} seeds from ${first}: ${failed.length} failed` +
      (failed.length > 0
        ? ` (${failed
            .map(({ seed }) => seed)
            .slice(0, 20)
            .join(', ')})`
        : '') +
      `; ${seconds.toFixed(1)} s (${((user + system) / 1e6).toFixed(1)} s of CPU), ${(done / seconds).toFixed(0)} seeds/s, ${events} events of ` +
      `${((seconds * 1e6) / events).toFixed(1)} µs, ` +
      `${(simulatedMs / 1_000 / seconds).toFixed(0)} virtual seconds a second` +
      (missing === null
        ? ''
        : `; ${missing.length === 0 ? 'everything legal was seen' : `not seen: ${missing.join(', ')}`}`),
  );
  return failed.length > 0 || (missing?.length ?? 0) > 0 ? 1 : 0;
}

function showFailure(cores: Cores, options: Options, scenario: Scenario, report: RunReport): void {
  const { failure } = report;
  const { large, isShrinking } = options;
  if (!isShrinking) {
    console.log(formatFailure(report, { shrunk: null, large }));
    return;
  }
  const shrunk = shrink(scenario, (smaller) => {
    return runScenario(smaller, cores).failure?.checker === failure?.checker;
  });
  const again = runScenario(without(scenario, shrunk.left), cores);
  console.log(formatFailure(again, { shrunk, large }));
}

async function findPlanted(
  { profile }: Options,
  { first, seeds, name }: { first: number; seeds: number; name: string },
): Promise<number> {
  const limits = { seeds, ms: HUNT_MS, firstSeed: first };
  const bugs = PLANTED_BUGS.filter((bug) => bug.name.includes(name));
  let found = 0;
  for (const bug of bugs) {
    const result = await hunt(bug, limits, profile, () => performance.now());
    if (result.found !== null) found += 1;
    const how =
      result.found === null
        ? `NOT FOUND in ${result.seeds} seeds`
        : `seed ${result.found.seed}: ${result.found.checker}: ${result.found.message}`;
    console.log(`${bug.core.padEnd(9)} ${bug.name.padEnd(30)} ${how.slice(0, 120)}`);
  }
  console.log(`${found} of ${bugs.length} planted bugs found`);
  return found >= bugs.length * 0.95 ? 0 : 1;
}

function number(flag: string, text: string | undefined, byDefault: number): number {
  if (text === undefined) return byDefault;
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0) {
    throw new RangeError(`${flag} ${text}: give a number from 0`);
  }
  return value;
}
