import type { GrantedDevices } from '../../core/index.ts';
import type { VisibleGpus } from './visible-gpus.ts';
import { isGpu } from './worker-devices.ts';

/** Variables of a run's environment, in the order they are set. */
export type DeviceVariables = readonly (readonly [name: string, value: string])[];

/**
 * What tells a run of its devices: `FARM_RESOURCE_<NAME>` lists them as the worker calls them, and of
 * GPUs the vendor's variable selects them. There a number is a place in the list that the worker
 * itself was given, for example by a batch system; other names stay what they are.
 *
 * @example
 * // In a worker with CUDA_VISIBLE_DEVICES=4,5
 * deviceVariables([['GPU', ['1']]], gpus); // [['FARM_RESOURCE_GPU', '1'], ['CUDA_VISIBLE_DEVICES', '5']]
 */
export function deviceVariables(granted: GrantedDevices, gpus: VisibleGpus): DeviceVariables {
  const variables = granted.map(([name, ids]) => [resourceVariable(name), ids.join(',')] as const);
  const ids = granted.flatMap(([name, own]) => (isGpu(name) ? own : []));
  if (ids.length === 0) return variables;
  const selected = [...new Set(ids.flatMap((id) => visibleName(id, gpus.listed)))];
  return [...variables, [gpus.variable, selected.join(',')]];
}

/** The variable that tells a run of a resource. */
export function resourceVariable(name: string): string {
  return `FARM_RESOURCE_${name.toUpperCase().replaceAll(/[^A-Z0-9_]/g, '_')}`;
}

function visibleName(id: string, listed: readonly string[] | null): readonly string[] {
  if (listed === null || !/^\d+$/.test(id)) return [id];
  // One that is not there is another that is: the worker's log says so.
  const name = listed[Number(id) % listed.length];
  return name === undefined ? [] : [name];
}
