import { expect, test } from 'vitest';

import { visibleGpus } from '../../src/shell/devices/visible-gpus.ts';
import type { HostFiles } from '../../src/shell/host-files.ts';

/** A machine with these files; what is between is directories. */
function machine(files: Readonly<Record<string, string>>): HostFiles {
  return {
    read: (path) => files[path] ?? '',
    list: (directory) => {
      const inside = Object.keys(files).filter((path) => path.startsWith(`${directory}/`));
      return [
        ...new Set(inside.map((path) => path.slice(directory.length + 1).split('/')[0] ?? '')),
      ];
    },
  };
}

const NOTHING = machine({});
const NVIDIA = machine({
  '/proc/driver/nvidia/gpus/0000:3b:00.0/information': '',
  '/proc/driver/nvidia/gpus/0000:af:00.0/information': '',
});
const AMD = machine({
  '/sys/class/kfd/kfd/topology/nodes/0/gpu_id': '0\n',
  '/sys/class/kfd/kfd/topology/nodes/1/gpu_id': '51000\n',
});
const INTEL = machine({
  '/sys/class/drm/card0/device/vendor': '0x1a03\n',
  '/sys/class/drm/card1/device/vendor': '0x8086\n',
  '/sys/class/drm/card1-DP-1/status': '',
});

test.each([
  ['a machine without any', {}, NOTHING, 'nvidia', 'CUDA_VISIBLE_DEVICES', null],
  ['two of NVIDIA', {}, NVIDIA, 'nvidia', 'CUDA_VISIBLE_DEVICES', 2],
  [
    'a container of NVIDIA',
    {},
    machine({ '/dev/nvidia0': '', '/dev/nvidiactl': '' }),
    'nvidia',
    'CUDA_VISIBLE_DEVICES',
    1,
  ],
  ['one of AMD', {}, AMD, 'amd', 'ROCR_VISIBLE_DEVICES', 1],
  ['cards of Intel beside a console', {}, INTEL, 'intel', 'ZE_AFFINITY_MASK', null],
  ['a mask of Intel', { ZE_AFFINITY_MASK: '3' }, NOTHING, 'intel', 'ZE_AFFINITY_MASK', 1],
  ['a list of ROCR', { ROCR_VISIBLE_DEVICES: '2,3' }, NOTHING, 'amd', 'ROCR_VISIBLE_DEVICES', 2],
  [
    'HIP within ROCR',
    { ROCR_VISIBLE_DEVICES: '2,3', HIP_VISIBLE_DEVICES: '1' },
    NOTHING,
    'amd',
    'HIP_VISIBLE_DEVICES',
    1,
  ],
  [
    'all variables, as Slurm may set them',
    { CUDA_VISIBLE_DEVICES: '0', ROCR_VISIBLE_DEVICES: '0', ZE_AFFINITY_MASK: '0' },
    AMD,
    'amd',
    'ROCR_VISIBLE_DEVICES',
    1,
  ],
  [
    'no device granted by Slurm',
    { CUDA_VISIBLE_DEVICES: 'NoDevFiles' },
    NVIDIA,
    'nvidia',
    'CUDA_VISIBLE_DEVICES',
    0,
  ],
  ['an empty list', { CUDA_VISIBLE_DEVICES: '' }, NVIDIA, 'nvidia', 'CUDA_VISIBLE_DEVICES', 0],
  [
    'a list that ends early',
    { CUDA_VISIBLE_DEVICES: '1, 0,-1,2' },
    NVIDIA,
    'nvidia',
    'CUDA_VISIBLE_DEVICES',
    2,
  ],
])('%s: vendor, variable and number are found', (_, env, source, vendor, variable, count) => {
  expect(visibleGpus('auto', env, source)).toMatchObject({ vendor, variable, count });
});

test('a vendor that is told is not guessed', () => {
  const gpus = visibleGpus('intel', { CUDA_VISIBLE_DEVICES: '0' }, NVIDIA);
  expect(gpus).toEqual({
    vendor: 'intel',
    variable: 'ZE_AFFINITY_MASK',
    listed: null,
    count: null,
  });
});
