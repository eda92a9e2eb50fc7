import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  type Address,
  formatAddress,
  parseAddress,
  parsePort,
  parsePortRange,
  webSocketUrl,
} from '../src/address.ts';
import { refusal } from './refusal.ts';

const defaultPort = 8786;

function parseAgain(address: Address, listen: boolean): Address {
  return parseAddress(formatAddress(address), { defaultPort, listen, defaultHost: '' });
}

function isRefused(act: () => unknown): boolean {
  try {
    act();
    return false;
  } catch {
    return true;
  }
}

describe('parseAddress', () => {
  test.each([
    ['tcp://h:1', { secure: false, host: 'h', port: 1 }],
    ['TCP://h:1', { secure: false, host: 'h', port: 1 }],
    ['ws://h:1', { secure: false, host: 'h', port: 1 }],
    ['tls://h:1', { secure: true, host: 'h', port: 1 }],
    ['wss://h:1', { secure: true, host: 'h', port: 1 }],
    ['h:1', { secure: false, host: 'h', port: 1 }],
    ['h', { secure: false, host: 'h', port: 8786 }],
    ['tcp://h', { secure: false, host: 'h', port: 8786 }],
    ['tcp://h:65535/', { secure: false, host: 'h', port: 65535 }],
    [' 10.9.0.1:6192\n', { secure: false, host: '10.9.0.1', port: 6192 }],
    ['[::1]:9', { secure: false, host: '::1', port: 9 }],
    ['tls://[fd00::2]', { secure: true, host: 'fd00::2', port: 8786 }],
    [':8787', { secure: false, host: '127.0.0.1', port: 8787 }],
    ['node-3_a.cluster.example.', { secure: false, host: 'node-3_a.cluster.example.', port: 8786 }],
  ])('reads %j', (text, address) => {
    expect(parseAddress(text, { defaultPort })).toEqual(address);
  });

  test.each([
    ['8787', { host: '', port: 8787 }],
    [':8787', { host: '', port: 8787 }],
    ['host:8787', { host: 'host', port: 8787 }],
    ['[::1]:8787', { host: '::1', port: 8787 }],
    [':0', { host: '', port: 0 }],
    ['0', { host: '', port: 0 }],
  ])('reads %j to listen on', (text, address) => {
    const read = parseAddress(text, { defaultPort: 8787, listen: true });
    expect(read).toEqual({ secure: false, ...address });
  });

  test('takes defaults for host, security and bare ports', () => {
    const options = { defaultPort, defaultHost: 'there', defaultSecure: true, bare: true };
    expect(parseAddress('99', options)).toEqual({ secure: true, host: 'there', port: 99 });
    expect(parseAddress('tcp://x', options).secure).toBe(false);
  });

  test.each([
    ['', 'it is empty'],
    ['  ', 'it is empty'],
    ['tcp://', 'it names no host'],
    ['http://h:1', 'its scheme "http" is not one of tcp, tls, ws, wss'],
    ['://h:1', 'its scheme "" is not one of'],
    ['h:65536', 'its port is not a whole number from 0 to 65535'],
    ['h:', 'its port is not'],
    ['h:-1', 'its port is not'],
    ['h:8o', 'its port is not'],
    ['h:1e3', 'its port is not'],
    ['h:0', 'port 0 cannot be dialled'],
    ['8786', 'a number alone is unclear, write host:8786'],
    ['::1', 'IPv6 goes in brackets'],
    ['[::1', 'its host is not valid'],
    ['[nope]:1', '"nope" is not an IPv6 address'],
    ['[fe80::1%eth0]:1', 'an address with a zone cannot be dialled'],
    ['256.1.1.1:1', 'its host is not valid'],
    ['10.1:1', 'its host is not valid'],
    ['a b:1', 'its host is not valid'],
    ['-h:1', 'its host is not valid'],
    ['a..b:1', 'its host is not valid'],
    ['a:1:2', 'its host is not valid'],
    ['tcp://h:1/path', 'a path or query'],
    ['tcp://h:1?token=x', 'a path or query'],
    ['tcp://me@h:1', 'a user name or token'],
    ['{"address": 1}', 'its host is not valid'],
  ])('refuses %j: %s', (text, problem) => {
    const error = refusal(() => parseAddress(text, { defaultPort }));
    expect(error.code).toBe('ERR_ADDRESS');
    expect(error.message).toContain(`is not an address: ${problem}`);
    expect(error.message).toContain('for example tcp://host:8786');
  });

  test('answers any text with an address or its own error', () => {
    fc.assert(
      fc.property(fc.string(), fc.boolean(), (text, listen) => {
        const act = () => parseAddress(text, { defaultPort, listen });
        const outcome = isRefused(act) ? refusal(act).code : parseAgain(act(), listen);
        expect(outcome).toEqual(isRefused(act) ? 'ERR_ADDRESS' : act());
      }),
    );
  });
});

test('addresses print in the look of Dask and as WebSocket URLs', () => {
  expect(formatAddress({ secure: false, host: 'h', port: 1 })).toBe('tcp://h:1');
  expect(formatAddress({ secure: true, host: '::1', port: 1 })).toBe('tls://[::1]:1');
  expect(webSocketUrl({ secure: false, host: '::1', port: 1 }, '/client')).toBe(
    'ws://[::1]:1/client',
  );
  expect(webSocketUrl({ secure: true, host: 'h', port: 1 })).toBe('wss://h:1/');
});

describe('ports', () => {
  test('are whole numbers from 0 to 65535', () => {
    expect(['0', '8786', '65535'].map(parsePort)).toEqual([0, 8786, 65535]);
  });

  test.each(['', '-1', '65536', '8786.0', '1e3', '0x50', 'http', '99999999999'])(
    'refuses %j',
    (text) => {
      expect(() => parsePort(text)).toThrow(`${JSON.stringify(text)} is not a port`);
    },
  );

  test('come in ranges', () => {
    expect(parsePortRange('9000')).toEqual([9000]);
    expect(parsePortRange('0')).toEqual([0]);
    expect(parsePortRange('9000:9002')).toEqual([9000, 9001, 9002]);
    expect(parsePortRange('9000:9000')).toEqual([9000]);
  });

  test.each(['', '9010:9000', '0:10', '1:2:3', '9000-9010', ':', '9000:', '1:65536'])(
    'refuses the range %j',
    (text) => {
      const error = refusal(() => parsePortRange(text));
      expect(error.code).toBe('ERR_ARGUMENT');
      expect(error.message).toContain(JSON.stringify(text));
    },
  );
});
