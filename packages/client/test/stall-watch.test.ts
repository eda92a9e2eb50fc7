import { afterEach, describe, expect, test, vi } from 'vitest';

import { connectFake } from './fake-scheduler.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

/** What is written to stderr from now on. */
function listen(): string[] {
  const lines: string[] = [];
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    lines.push(String(text));
    return true;
  });
  return lines;
}

describe('a user who waits while no task can run', () => {
  test('is told that there is no worker, once', async () => {
    const lines = listen();
    await using rig = connectFake(5);
    rig.scheduler.workers = [];
    rig.scheduler.counts = { ...rig.scheduler.counts, 'no-worker': 2 };
    const future = rig.client.submit((x: number) => x, 1);
    const result = future.result();
    const beats = (): number =>
      rig.scheduler.messages.filter((message) => message.op === 'client-heartbeat').length;
    await rig.scheduler.until(() => beats() > 9);
    rig.scheduler.finish([[1, 1]]);
    await result;
    expect(lines).toEqual([
      '2 tasks wait for a worker: none is connected to the scheduler at tcp://127.0.0.1:8786\n',
    ]);
  });

  test('is told that no worker offers what the task needs', async () => {
    const lines = listen();
    await using rig = connectFake(5);
    rig.scheduler.counts = { ...rig.scheduler.counts, 'no-worker': 1 };
    const result = rig.client.submit((x: number) => x, 1).result();
    await vi.waitUntil(() => lines.length > 0);
    rig.scheduler.finish([[1, 1]]);
    await result;
    expect(lines).toEqual([expect.stringContaining('1 task waits: no connected worker offers')]);
  });

  test('is told nothing while a task runs', async () => {
    const lines = listen();
    await using rig = connectFake(5);
    rig.scheduler.counts = { ...rig.scheduler.counts, 'no-worker': 1, processing: 1 };
    const result = rig.client.submit((x: number) => x, 1).result();
    const asked = (): number =>
      rig.scheduler.messages.filter((message) => message.op === 'ask').length;
    const before = asked();
    await rig.scheduler.until(() => asked() > before + 1);
    rig.scheduler.finish([[1, 1]]);
    await result;
    expect(lines).toEqual([]);
  });
});
