import { parseWorkerResources } from '@farm/protocol/command-line';
import { describe, expect, test } from 'vitest';

import { deviceVariables } from '../../src/shell/devices/device-environment.ts';
import { visibleGpus } from '../../src/shell/devices/visible-gpus.ts';
import { deviceWarnings, workerDevices } from '../../src/shell/devices/worker-devices.ts';

const NO_DEVICES = { list: () => [], read: () => '' };

function ids(text: string, visible: number | null, worker: number = 0): unknown {
  return workerDevices(parseWorkerResources(text), visible, worker).map((each) => each.ids);
}

describe('the devices of a worker', () => {
  test.each([
    ['GPU=2', null, 0, ['0', '1']],
    ['GPU=2', null, 1, ['2', '3']],
    ['GPU=2', 4, 1, ['2', '3']],
    ['GPU=2', 4, 2, ['0', '1']],
    ['GPU=3', 2, 0, ['0', '1', '2']],
    ['GPU=1.5', 4, 1, ['2', '3']],
    ['GPU=0.5', 4, 1, ['0']],
    ['GPU=0.5', 4, 2, ['1']],
    ['GPU=0.7', 4, 1, ['1']],
    ['gpus=1', null, 1, ['1']],
    ['GPU=[3,GPU-8f0c]', 4, 1, ['3', 'GPU-8f0c']],
    ['FPGA=[a]', null, 1, ['a']],
  ])('%s with %s visible, of worker %i, are %j', (text, visible, worker, expected) => {
    expect(ids(text, visible, worker)).toEqual([expected]);
  });

  test.each(['MEM=10e9', 'GPU=0', 'GPU=1e6'])('are none for %s', (text) => {
    expect(ids(text, 2)).toEqual([]);
  });
});

describe('warnings', () => {
  const given = (text: string, env: Record<string, string>, workers = 1): readonly string[] => {
    return deviceWarnings(
      parseWorkerResources(text),
      visibleGpus('auto', env, NO_DEVICES),
      workers,
    );
  };

  test.each([
    [
      'GPU=4',
      { CUDA_VISIBLE_DEVICES: '3,5' },
      1,
      ['GPU=4, and 2 GPUs are visible in CUDA_VISIBLE_DEVICES=3,5: they will share'],
    ],
    [
      'GPU=1',
      { ZE_AFFINITY_MASK: '0' },
      3,
      ['GPU=1 for each of 3 workers, and 1 GPU is visible in ZE_AFFINITY_MASK=0: they will share'],
    ],
    [
      'GPU=[0,7]',
      { CUDA_VISIBLE_DEVICES: '3,5' },
      1,
      ['GPU: there is no device 7, 2 GPUs are visible in CUDA_VISIBLE_DEVICES=3,5'],
    ],
    ['GPU=[0,1]', {}, 2, ['GPU=[0,1]: 2 workers grant the same devices, each on its own']],
    [
      'GPU=1',
      { CUDA_VISIBLE_DEVICES: '' },
      1,
      ['GPU=1, and no GPU is visible in CUDA_VISIBLE_DEVICES='],
    ],
    ['GPU=2', { CUDA_VISIBLE_DEVICES: '3,5' }, 1, []],
    ['GPU=0.5', { CUDA_VISIBLE_DEVICES: '3' }, 2, []],
    ['GPU=8', {}, 1, []],
    ['MEM=8', { CUDA_VISIBLE_DEVICES: '3' }, 1, []],
  ])('%s where %j for %i workers: %j', (text, env, workers, expected) => {
    expect(given(text, env, workers)).toEqual(expected);
  });
});

describe('the environment of a run', () => {
  test.each([
    [
      'of a machine of its own',
      {},
      [['GPU', ['0', '1']]],
      { FARM_RESOURCE_GPU: '0,1', CUDA_VISIBLE_DEVICES: '0,1' },
    ],
    [
      'within what a batch system gave',
      { CUDA_VISIBLE_DEVICES: '4,5' },
      [['GPU', ['1']]],
      { FARM_RESOURCE_GPU: '1', CUDA_VISIBLE_DEVICES: '5' },
    ],
    [
      'of names of a batch system',
      { CUDA_VISIBLE_DEVICES: 'GPU-8f0c,MIG-41ab' },
      [['GPU', ['1']]],
      { FARM_RESOURCE_GPU: '1', CUDA_VISIBLE_DEVICES: 'MIG-41ab' },
    ],
    [
      'of names of its own',
      { CUDA_VISIBLE_DEVICES: '4,5' },
      [['GPU', ['GPU-8f0c', 'MIG-41ab']]],
      { FARM_RESOURCE_GPU: 'GPU-8f0c,MIG-41ab', CUDA_VISIBLE_DEVICES: 'GPU-8f0c,MIG-41ab' },
    ],
    [
      'of AMD',
      { ROCR_VISIBLE_DEVICES: '2,3' },
      [['GPU', ['0']]],
      { FARM_RESOURCE_GPU: '0', ROCR_VISIBLE_DEVICES: '2' },
    ],
    [
      'of tiles of Intel',
      { ZE_AFFINITY_MASK: '0.0,0.1' },
      [['GPU', ['1']]],
      { FARM_RESOURCE_GPU: '1', ZE_AFFINITY_MASK: '0.1' },
    ],
    [
      'of more than there are',
      { CUDA_VISIBLE_DEVICES: '4,5' },
      [['GPU', ['0', '2']]],
      { FARM_RESOURCE_GPU: '0,2', CUDA_VISIBLE_DEVICES: '4' },
    ],
    [
      'of none at all',
      { CUDA_VISIBLE_DEVICES: '' },
      [['GPU', ['0']]],
      { FARM_RESOURCE_GPU: '0', CUDA_VISIBLE_DEVICES: '' },
    ],
    [
      'of other devices',
      { CUDA_VISIBLE_DEVICES: '4,5' },
      [['my-fpga', ['a', 'b']]],
      { FARM_RESOURCE_MY_FPGA: 'a,b' },
    ],
  ] as const)('%s', (_, env, granted, expected) => {
    const gpus = visibleGpus('auto', env, NO_DEVICES);
    expect(Object.fromEntries(deviceVariables(granted, gpus))).toEqual(expected);
  });
});
