import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { basename, join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  findCredential,
  localAddresses,
  makeToken,
  removeCredential,
  writeCredential,
} from '@farm/protocol';
import type { Credential } from '@farm/protocol';
import { containing } from '../transport/texts.ts';

const DEAD_PID = 2 ** 22 + 1; // Above the largest pid Linux gives.

let home = '';
let env: Readonly<Record<string, string>> = {};

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'farm-test-'));
  env = { FARM_HOME: join(home, 'own') };
});
afterEach(() => rm(home, { recursive: true, force: true }));

function credential(fields: Partial<Credential> = {}): Credential {
  return {
    id: 's-1',
    host: '127.0.0.1',
    port: 8786,
    startedMs: 1,
    pid: process.pid,
    tokens: { client: makeToken(), worker: makeToken() },
    ...fields,
  };
}

function at(host: string, port: number = 8786): { secure: false; host: string; port: number } {
  return { secure: false, host, port };
}

describe('makeToken', () => {
  it('makes 256 bits that fit a header', () => {
    expect(makeToken()).toMatch(/^[\w-]{43}$/);
    expect(new Set(Array.from({ length: 100 }, makeToken)).size).toBe(100);
  });
});

describe('a credential', () => {
  it('is found by the address alone, for each role, under the names of loopback', async () => {
    const own = credential();
    const path = await writeCredential(own, env);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(home, 'own', 'credentials'))).mode & 0o777).toBe(0o700);
    for (const host of ['127.0.0.1', 'localhost', '::1']) {
      expect(await findCredential(at(host), 'client', env)).toBe(own.tokens.client);
    }
    expect(await findCredential(at('localhost'), 'worker', env)).toBe(own.tokens.worker);
  });

  it('of every interface is found under every name of this machine', async () => {
    const own = credential({ host: '0.0.0.0' });
    await writeCredential(own, env);
    for (const host of ['localhost', hostname(), hostname().toUpperCase(), ...localAddresses()]) {
      expect(await findCredential(at(host), 'client', env)).toBe(own.tokens.client);
    }
  });

  it.each([
    ['another port', at('127.0.0.1', 8787)],
    ['another machine', at('10.255.255.1')],
    ['the machine, where it listens on loopback only', at('192.0.2.7')],
  ])('is not found for %s', async (_what, address) => {
    await writeCredential(credential(), env);
    await expect(findCredential(address, 'client', env)).rejects.toMatchObject({
      code: 'ERR_UNAUTHORIZED',
      message:
        `no token for tcp://${address.host}:${address.port}; pass the scheduler file ` +
        'that its scheduler wrote, or set FARM_TOKEN',
    });
  });

  it('of another machine that shares the home is not found under loopback', async () => {
    const path = await writeCredential(credential({ host: '0.0.0.0' }), env);
    const text = JSON.stringify({
      version: 1,
      id: 's-2',
      machine: 'node7',
      hosts: ['node7', '10.9.0.7', '127.0.0.1'],
      port: 8786,
      startedMs: 5,
      pid: 1,
      tokens: { client: 'of-node7' },
    });
    await rm(path);
    await writeFile(join(home, 'own', 'credentials', 'node7_8786.json'), text);
    await expect(findCredential(at('127.0.0.1'), 'client', env)).rejects.toThrow(/no token/);
    expect(await findCredential(at('node7'), 'client', env)).toBe('of-node7');
    expect(await findCredential(at('10.9.0.7'), 'client', env)).toBe('of-node7');
    await expect(findCredential(at('node7'), 'worker', env)).rejects.toThrow(/no token/);
  });

  it('of a scheduler that has ended is not given to whoever has its port now', async () => {
    await writeCredential(credential({ pid: DEAD_PID }), env);
    await expect(findCredential(at('127.0.0.1'), 'client', env)).rejects.toThrow(/no token/);
  });

  it('gives way to FARM_TOKEN', async () => {
    await writeCredential(credential(), env);
    const withToken = { ...env, FARM_TOKEN: 'from-env' };
    expect(await findCredential(at('127.0.0.1'), 'client', withToken)).toBe('from-env');
  });

  it('is removed by its owner only', async () => {
    const path = await writeCredential(credential(), env);
    await removeCredential(path, 'another');
    expect(await readdir(join(home, 'own', 'credentials'))).toHaveLength(1);
    await removeCredential(path, 's-1');
    await removeCredential(path, 's-1');
    expect(await readdir(join(home, 'own', 'credentials'))).toEqual([]);
  });

  it('of a scheduler that was killed is removed by the next one on this machine', async () => {
    const dead = await writeCredential(credential({ port: 1, pid: DEAD_PID }), env);
    const directory = join(home, 'own', 'credentials');
    const elsewhere = join(directory, 'node7_1.json');
    const text = await readFile(dead, 'utf8');
    await writeFile(elsewhere, text.replace(JSON.stringify(hostname()), '"node7"'));
    await writeFile(join(directory, 'broken_1.json'), '{');
    const alive = await writeCredential(credential({ port: 2 }), env);
    const own = await writeCredential(credential({ port: 3 }), env);
    expect(await readdir(directory).then((names) => names.toSorted())).toEqual(
      [alive, elsewhere, own, join(directory, 'broken_1.json')]
        .map((path) => basename(path))
        .toSorted(),
    );
    expect(existsSync(dead)).toBe(false);
  });

  it('is passed over where it is broken, and does not hide the others', async () => {
    const own = credential();
    await writeCredential(own, env);
    const directory = join(home, 'own', 'credentials');
    for (const [index, text] of ['', '{', '[]', '{"version":1}', 'null'].entries()) {
      await writeFile(join(directory, `broken${index}_8786.json`), text);
    }
    expect(await findCredential(at('127.0.0.1'), 'client', env)).toBe(own.tokens.client);
  });

  it('is neither written to nor read from a directory that others may write to', async () => {
    await writeCredential(credential(), env);
    await chmod(join(home, 'own', 'credentials'), 0o777);
    await expect(writeCredential(credential(), env)).rejects.toMatchObject({
      code: 'ERR_SCHEDULER_FILE',
      message: containing('others may write to it'),
    });
    await expect(findCredential(at('127.0.0.1'), 'client', env)).rejects.toThrow(/no token/);
  });

  it('goes to the directory for temporary files where there is no home', async () => {
    const own = credential({ port: 1 });
    const path = await writeCredential(own, { HOME: '/dev/null' });
    expect(path.startsWith(tmpdir())).toBe(true);
    expect(await findCredential(at('127.0.0.1', 1), 'client', { HOME: '/dev/null' })).toBe(
      own.tokens.client,
    );
    await removeCredential(path, own.id);
  });
});
