/** Goal: what cannot be a plugin, or an upload, is refused where it is written. */
import { mkdtemp, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { decodeValue } from '@farm/protocol/value';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { archivePlugin, environmentPlugin, workerPlugin } from '../src/index.ts';
import { uploadPlugin, workerPluginParams } from '../src/worker-plugins.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'farm-upload-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

test('a function travels by its source, a module by its name', () => {
  const site = (level = 1): unknown => ({ setup: () => level });
  const made = workerPlugin(site, { args: [3] });
  expect(decodeValue(workerPluginParams(made).spec)).toEqual({
    code: { kind: 'source', name: 'site', source: String(site) },
    args: [3],
    setupTimeoutMs: 300_000,
  });
  const imported = workerPlugin('file:///lib/site.ts', { kind: 'nanny', exportName: 'Site' });
  expect(imported).toMatchObject({ name: 'Site', kind: 'nanny' });
  expect(imported.spec.code).toEqual({
    kind: 'module',
    name: 'Site',
    url: 'file:///lib/site.ts',
    exportName: 'Site',
  });
});

test('what cannot be a plugin is refused', () => {
  const outside = directory;
  const name = 'p';
  expect(() => workerPlugin(() => ({ setup: () => outside }), { name })).toThrow('outside');
  expect(() => workerPlugin(() => ({}))).toThrow('needs a name');
  expect(() => workerPlugin('./site.ts')).toThrow('relative');
  expect(() => workerPlugin(() => ({}), { name, setupTimeoutMs: 0 })).toThrow('setupTimeoutMs');
  expect(() => archivePlugin({ to: '/results/all.tar.gz' })).toThrow('{worker}');
  expect(() => workerPluginParams(environmentPlugin({}, { name: '' }))).toThrow('name');
  const args = [() => 1];
  expect(() => workerPluginParams(workerPlugin(() => ({}), { name, args }))).toThrow('args[0]');
});

test('an upload is known by its contents, whatever it is called and wherever it lies', async () => {
  const [one, two] = [join(directory, 'one'), join(directory, 'two')];
  for (const tree of [one, two]) {
    await mkdir(join(tree, 'inner'), { recursive: true });
    await writeFile(join(tree, 'inner', 'file'), 'x', { mode: 0o640 });
    await symlink('inner/file', join(tree, 'link'));
  }
  const first = await uploadPlugin(one, 'data');
  expect((await uploadPlugin(two, 'data')).hash).toBe(first.hash);
  expect(first.plugin.spec.args).toMatchObject([
    {
      name: 'data',
      entries: [
        { kind: 'directory', path: '' },
        { kind: 'directory', path: 'inner' },
        { kind: 'file', path: 'inner/file', mode: 0o640 },
        { kind: 'link', path: 'link', target: 'inner/file' },
      ],
    },
  ]);
  await writeFile(join(two, 'inner', 'file'), 'y');
  expect((await uploadPlugin(two, 'data')).hash).not.toBe(first.hash);
  expect((await uploadPlugin(join(one, 'link'))).plugin.name).toBe('link');
});

test('what cannot be uploaded is refused', async () => {
  await expect(uploadPlugin(join(directory, 'none'))).rejects.toMatchObject({
    code: 'ERR_ARGUMENT',
  });
  await expect(uploadPlugin('/dev/null')).rejects.toThrow('neither a file nor a directory');
  await expect(uploadPlugin(directory, 'a/b')).rejects.toThrow('no name for a file');
  const large = join(directory, 'large');
  await writeFile(large, new Uint8Array(50_331_649));
  await expect(uploadPlugin(large)).rejects.toMatchObject({ code: 'ERR_LIMIT' });
});
