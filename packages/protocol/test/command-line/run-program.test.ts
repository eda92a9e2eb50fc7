import { execFile, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const script = fileURLToPath(new URL('example-program.ts', import.meta.url));

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(...args: readonly string[]): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const child = execFile(
    process.execPath,
    ['--conditions=@farm/source', script, ...args],
    { env: { PATH: process.env['PATH'], FORCE_COLOR: '1' } },
    (_error, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr }),
  );
  return promise;
}

describe('a program', () => {
  test('runs its main with what it understood', async () => {
    const { code, stdout, stderr } = await run('--port=0', 'tcp://h:1');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({
      options: { port: 0, nanny: true },
      positional: { host: 'h', port: 1 },
    });
  });

  test('answers a wrong flag with one line on standard error and exit code 2', async () => {
    expect(await run('---interface', 'ib0')).toEqual({
      code: 2,
      stdout: '',
      stderr: 'farm-example: unknown option ---interface, did you mean --interface?\n',
    });
    expect(await run('--resources', 'GPU=x')).toEqual({
      code: 2,
      stdout: '',
      stderr: 'farm-example: --resources: "GPU=x": amount must be a number, for example GPU=1\n',
    });
  });

  test('answers --help and --version on standard output with exit code 0', async () => {
    const help = await run('--help');
    expect(help).toMatchObject({ code: 0, stderr: '' });
    expect(help.stdout).toContain('Usage: farm-example');
    expect(help.stdout).not.toContain('\u001b');
    expect(await run('--version')).toEqual({
      code: 0,
      stdout: 'farm-example 1.2.3\n',
      stderr: '',
    });
  });

  test('ends with exit code 1 and one line where main fails with a FarmError', async () => {
    expect(await run('--host', 'farm-error')).toEqual({
      code: 1,
      stdout: '',
      stderr: 'farm-example: nobody\\nthere\n',
    });
  });

  test('ends with exit code 1 and the stack where main has a bug', async () => {
    const { code, stderr } = await run('--host', 'bug');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^farm-example: TypeError: a bug\n +at .*example-program\.ts/);
  });

  test('ends with the exit code that main returns', async () => {
    expect(await run('--host', 'code')).toMatchObject({ code: 7, stderr: '' });
  });

  test('does not mind a reader of its help that went away', async () => {
    const child = spawn(process.execPath, ['--conditions=@farm/source', script, '--help'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.destroy();
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const { promise, resolve } = Promise.withResolvers<number | null>();
    child.on('close', resolve);
    expect(await promise).toBe(0);
    expect(stderr).toBe('');
  });
});
