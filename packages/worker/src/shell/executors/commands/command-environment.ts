import type { ExecutorRun } from '../executor.ts';

/** Variables of a command's environment, in the order they are set. */
export type Variables = readonly (readonly [name: string, value: string])[];

/**
 * What a command finds in its environment on top of the worker's own: who it is, what it is granted
 * (`FARM_RESOURCE_<NAME>`), and what its task sets, which wins.
 */
export function taskEnvironment(
  { key, attempt, resources }: ExecutorRun,
  workerName: string,
  own: Variables,
): Variables {
  return [
    ...resources.map(([name, amount]) => [resourceVariable(name), String(amount)] as const),
    ['FARM_KEY', key],
    ['FARM_ATTEMPT', String(attempt)],
    ['FARM_WORKER', workerName],
    ...own,
  ];
}

/** An environment as `NAME=value` texts; a value that is undefined is none. */
export function environmentTexts(env: NodeJS.ProcessEnv): string[] {
  const texts: string[] = [];
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined) texts.push(`${name}=${value}`);
  }
  return texts;
}

function resourceVariable(name: string): string {
  return `FARM_RESOURCE_${name.toUpperCase().replaceAll(/[^A-Z0-9_]/g, '_')}`;
}
