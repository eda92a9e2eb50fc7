import { afterEach, expect, test, vi } from 'vitest';

import { onLeaveSignals } from '../../src/shell/leave-signals.ts';
import { afterLongTime, drawLifetimeMs, Lifetimes } from '../../src/shell/lifetime.ts';

afterEach(() => {
  vi.useRealTimers();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.removeAllListeners(signal);
});

const FIFTY = { lifetimeMs: 50_000, staggerMs: 4_000, restart: false };

test('a lifetime is moved by up to its stagger, either way', () => {
  expect([0, 0.5, 1].map((random) => drawLifetimeMs(FIFTY, random))).toEqual([
    46_000, 50_000, 54_000,
  ]);
  for (let i = 0; i < 100; i++) {
    const lifetimeMs = drawLifetimeMs(FIFTY);
    expect(lifetimeMs).toBeGreaterThanOrEqual(46_000);
    expect(lifetimeMs).toBeLessThanOrEqual(54_000);
  }
});

test('a time longer than a timer can count is waited for, and can be called off', () => {
  vi.useFakeTimers();
  const heard: string[] = [];
  const monthMs = 30 * 86_400_000;
  afterLongTime(monthMs, () => heard.push('end'));
  const callOff = afterLongTime(monthMs, () => heard.push('called off'));
  vi.advanceTimersByTime(monthMs - 1_000);
  expect(heard).toEqual([]);
  callOff();
  vi.advanceTimersByTime(1_001);
  expect(heard).toEqual(['end']);
});

test('workers of one nanny have one lifetime together, or each its own if they are restarted', () => {
  vi.useFakeTimers();
  const one = new Lifetimes({ ...FIFTY, staggerMs: 0 });
  vi.advanceTimersByTime(20_000);
  expect(one.next()).toEqual({ lifetimeMs: 30_000, staggerMs: 0, restart: false });
  vi.advanceTimersByTime(30_000);
  expect(one.next()).toBeNull();
  const each = new Lifetimes({ ...FIFTY, restart: true });
  vi.advanceTimersByTime(60_000);
  expect(each.next()).toEqual({ ...FIFTY, restart: true });
});

/** What a row of signals brings about, given as names with pauses in milliseconds before each. */
function hearing(...signals: readonly (readonly [NodeJS.Signals, number])[]): string[] {
  vi.useFakeTimers();
  const heard: string[] = [];
  onLeaveSignals(
    {
      drain: (reason) => heard.push(`drain: ${reason}`),
      close: (reason) => heard.push(`close: ${reason}`),
    },
    (code) => heard.push(`exit ${code}`),
  );
  for (const [signal, pauseMs] of signals) {
    vi.advanceTimersByTime(pauseMs);
    process.emit(signal, signal);
  }
  return heard;
}

test('SIGTERM drains, a second one closes, a third ends the process', () => {
  expect(hearing(['SIGTERM', 0], ['SIGTERM', 1_000], ['SIGTERM', 1_000])).toEqual([
    'drain: received SIGTERM',
    'close: received SIGTERM',
    'exit 143',
  ]);
});

test('signals that arrive together are one: a batch system may send them to every process', () => {
  expect(hearing(['SIGTERM', 0], ['SIGTERM', 50], ['SIGTERM', 50])).toEqual([
    'drain: received SIGTERM',
  ]);
});

test('SIGINT closes a worker that drains, however soon it comes', () => {
  expect(hearing(['SIGTERM', 0], ['SIGINT', 10])).toEqual([
    'drain: received SIGTERM',
    'close: received SIGINT',
  ]);
});

test('SIGINT closes at once, and a second one ends the process', () => {
  expect(hearing(['SIGINT', 0], ['SIGINT', 10], ['SIGINT', 1_000])).toEqual([
    'close: received SIGINT',
    'exit 130',
  ]);
});
