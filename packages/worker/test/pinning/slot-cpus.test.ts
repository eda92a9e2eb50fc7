import { describe, expect, test } from 'vitest';

import { formatCpuList, hostCpus, parseCpuList } from '../../src/shell/pinning/host-cpus.ts';
import type { HostFiles } from '../../src/shell/host-files.ts';
import { slotCpus } from '../../src/shell/pinning/slot-cpus.ts';

/** A machine of two memory nodes, four cores each, whose second hardware threads come last. */
function machine(allowed: string): HostFiles {
  const files: Record<string, string> = {
    '/proc/self/status': `Name:\tnode\nCpus_allowed:\tff\nCpus_allowed_list:\t${allowed}\n`,
    '/sys/devices/system/node/node0/cpulist': '0-3,8-11\n',
    '/sys/devices/system/node/node1/cpulist': '4-7,12-15\n',
  };
  for (let cpu = 0; cpu < 16; cpu++) {
    const file = `/sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`;
    files[file] = `${cpu % 8},${(cpu % 8) + 8}\n`;
  }
  return {
    read: (path) => files[path] ?? '',
    list: (path) => (path === '/sys/devices/system/node' ? ['node0', 'node1', 'online'] : []),
  };
}

/** A machine that tells only its affinity mask. */
function plain(allowed: string): HostFiles {
  return {
    read: (path) => (path === '/proc/self/status' ? `Cpus_allowed_list:\t${allowed}\n` : ''),
    list: () => [],
  };
}

describe('slots get', () => {
  test.each([
    ['a CPU each', plain('0-3'), 4, ['0', '1', '2', '3']],
    ['as many CPUs as each other', plain('0-4'), 2, ['0-1', '2-4']],
    ['CPUs of the mask only', plain('2,5,9-10'), 2, ['2,5', '9-10']],
    ['all, where there is one', machine('0-15'), 1, ['0-15']],
    ['one in turn, where there are more', plain('3,7'), 5, ['3', '7', '3', '7', '3']],
    ['a memory node each', machine('0-15'), 2, ['0-3,8-11', '4-7,12-15']],
    [
      'both threads of a core',
      machine('0-15'),
      8,
      ['0,8', '1,9', '2,10', '3,11', '4,12', '5,13', '6,14', '7,15'],
    ],
    ['parts of one node, never of two', machine('0-15'), 3, ['0-1,8-9', '2-3,10-11', '4-7,12-15']],
    ['as the mask shares nodes out', machine('0-3,4-5'), 3, ['0-1', '2-3', '4-5']],
    ['of both nodes, where one is too small', machine('0-3,4'), 2, ['0-1', '2-4']],
  ])('%s', (_, source, slots, expected) => {
    expect(slotCpus(hostCpus(source), slots)).toEqual(expected);
  });

  test('no CPU twice and all of them, whatever the numbers', () => {
    for (let slots = 1; slots <= 16; slots++) {
      const lists = slotCpus(hostCpus(machine('0-15')), slots);
      expect(lists).toHaveLength(slots);
      const cpus = lists.flatMap((list) => parseCpuList(list));
      expect(cpus.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 16 }, (_, cpu) => cpu));
    }
  });
});

test('a system that tells nothing has no CPUs to be bound to', () => {
  expect(hostCpus({ read: () => '', list: () => [] })).toEqual([]);
});

test.each([
  ['0', [0]],
  ['0-2,5\n', [0, 1, 2, 5]],
  ['', []],
  ['3-1', []],
  ['x', []],
])('the list %j is %j', (text, cpus) => {
  expect(parseCpuList(text)).toEqual(cpus);
});

test('lists are written in order and as ranges', () => {
  expect(formatCpuList([5, 0, 2, 1])).toBe('0-2,5');
});
