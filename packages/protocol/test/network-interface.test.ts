import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { interfaceAddress, isLoopback, localAddresses } from '../src/network-interface.ts';

const interfaces = {
  lo: [
    { address: '127.0.0.1', family: 'IPv4' },
    { address: '::1', family: 'IPv6' },
  ],
  ib0: [
    { address: 'fe80::1', family: 'IPv6' },
    { address: 'fd00::2', family: 'IPv6' },
    { address: '10.9.0.1', family: 'IPv4' },
  ],
  six: [{ address: 'fd00::3', family: 'IPv6' }],
  local: [{ address: 'fe80::4', family: 'IPv6' }],
} as const;

describe('interfaceAddress', () => {
  let kernelDirectory: string;
  beforeAll(async () => {
    kernelDirectory = await mkdtemp(join(tmpdir(), 'farm-net-'));
    for (const [name, flags] of [
      ['down0', '0x1002\n'],
      ['bare0', '0x1003\n'],
    ] as const) {
      await mkdir(join(kernelDirectory, name));
      await writeFile(join(kernelDirectory, name, 'flags'), flags);
    }
  });
  afterAll(async () => rm(kernelDirectory, { recursive: true, force: true }));

  test('prefers IPv4, and gives the family that is asked for', () => {
    expect(interfaceAddress('ib0', { interfaces })).toBe('10.9.0.1');
    expect(interfaceAddress('ib0', { interfaces, family: 4 })).toBe('10.9.0.1');
    expect(interfaceAddress('ib0', { interfaces, family: 6 })).toBe('fd00::2');
    expect(interfaceAddress('six', { interfaces })).toBe('fd00::3');
  });

  test.each([
    ['nope0', 'there is no network interface "nope0"'],
    ['', 'there is no network interface ""'],
    ['..', 'there is no network interface ".."'],
    ['__proto__', 'there is no network interface "__proto__"'],
    ['down0', 'the network interface "down0" is down'],
    ['bare0', 'the network interface "bare0" is up but has no address'],
    ['local', '"local" has no usable address, only fe80::4'],
  ])('refuses %j distinctly and lists the valid names', (name, problem) => {
    expect(() => interfaceAddress(name, { interfaces, kernelDirectory })).toThrow(
      expect.objectContaining({
        code: 'ERR_ARGUMENT',
        message: `${problem}; interfaces with an address: ib0, lo, local, six`,
      }),
    );
  });

  test('refuses an interface without the family asked for', () => {
    expect(() => interfaceAddress('six', { interfaces, family: 4 })).toThrow(
      '"six" has no IPv4 address, only fd00::3',
    );
  });

  test("reads the host's own interfaces", () => {
    const [name = ''] = Object.entries(networkInterfaces()).find(([, infos]) =>
      infos?.some((info) => info.address === '127.0.0.1'),
    ) ?? [''];
    expect(interfaceAddress(name)).toBe('127.0.0.1');
    expect(() => interfaceAddress('no-such-if')).toThrow(name);
    expect(localAddresses()).toContain('127.0.0.1');
  });
});

test('localAddresses leaves link-local addresses out', () => {
  expect(localAddresses(interfaces)).toEqual([
    '127.0.0.1',
    '::1',
    'fd00::2',
    '10.9.0.1',
    'fd00::3',
  ]);
});

test.each([
  ['127.0.0.1', true],
  ['127.1.2.3', true],
  ['::1', true],
  ['[::1]', true],
  ['0:0:0:0:0:0:0:1', true],
  ['::ffff:127.0.0.1', true],
  ['localhost', true],
  ['10.0.0.1', false],
  ['::', false],
  ['::11', false],
  ['fd00::1', false],
  ['127.0.0.1.example.org', false],
  ['localhost.example.org', false],
  ['', false],
])('isLoopback(%j) is %j', (address, expected) => {
  expect(isLoopback(address)).toBe(expected);
});
