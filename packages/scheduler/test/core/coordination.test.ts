/** Shared state: locks, semaphores, events, queues, variables, datasets, topics, metadata. */
import { ask, LIMITS, sharedItem } from '@farm/protocol/core';
import type {
  ClientBoundMessage,
  Failure,
  Questions,
  ReceivedItems,
  Reply,
} from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { SchedulerHarness, bytes, text } from './scheduler-harness.ts';
import type { FakeClient } from './scheduler-harness.ts';

const UNASKED = Symbol('no reply yet');

/** A client with numbered requests, whose replies can be looked up later. */
class Asker {
  readonly fake: FakeClient;
  readonly heard: ClientBoundMessage[] = [];
  #next = 1;

  constructor(farm: SchedulerHarness, session: string) {
    this.fake = farm.client(session);
  }

  /** Asks; returns the number of the request. */
  begin<M extends keyof Questions>(method: M, params: Questions[M]['params']): number {
    const request = this.#next++;
    this.fake.say(ask(request, method, params));
    return request;
  }

  /** The reply to a request so far: its answer, its failure, or {@link UNASKED}. */
  reply(request: number): unknown {
    this.heard.push(...this.fake.take());
    const replies = this.heard.filter(
      (message): message is Reply => message.op === 'reply' && message.request === request,
    );
    expect(replies.length).toBeLessThanOrEqual(1);
    const [reply] = replies;
    return reply === undefined ? UNASKED : (reply.error ?? reply.answer);
  }

  ask<M extends keyof Questions>(method: M, params: Questions[M]['params']): unknown {
    return this.reply(this.begin(method, params));
  }

  /** What a get gave: texts, ids and keys. */
  got(request: number): { texts: string[]; ids: number[]; keys: string[] } {
    // SAFE: the tests that call this have asked for items; a failure would have no `items`.
    const { items } = this.reply(request) as ReceivedItems;
    return {
      texts: items.map(({ value }) => text(value)),
      ids: items.flatMap(({ ids }) => ids),
      keys: items.flatMap(({ keys }) => keys),
    };
  }

  /** Results heard so far, text by id. */
  results(): Map<number, string> {
    this.heard.push(...this.fake.take());
    const found = new Map<number, string>();
    for (const message of this.heard) {
      if (message.op !== 'results') continue;
      for (const [at, id] of message.ids.entries()) {
        found.set(id, text(message.values.subarray(message.ends[at - 1] ?? 0, message.ends[at])));
      }
    }
    return found;
  }
}

function failureWith(code: Failure['code'], message = ''): unknown {
  const text: unknown = expect.stringContaining(message);
  return expect.objectContaining({ code, message: text });
}

function item(value: string, ...futures: readonly number[]): ReturnType<typeof sharedItem> {
  return sharedItem(bytes(value), futures);
}

const noIds = { first: 1_000_000, count: 0 };

function setUp(): { farm: SchedulerHarness; a: Asker; b: Asker } {
  const farm = new SchedulerHarness();
  return { farm, a: new Asker(farm, 'a'), b: new Asker(farm, 'b') };
}

describe('a lock', () => {
  const lock = (lease: number, timeoutMs: number | null = null) =>
    ({ name: 'l', lease, timeoutMs }) as const;

  test('has one holder; the others get it in the order of arrival', () => {
    const { a, b } = setUp();
    expect(a.ask('lock-acquire', lock(1))).toBe(true);
    const second = b.begin('lock-acquire', lock(1));
    const third = a.begin('lock-acquire', lock(2));
    expect([b.reply(second), a.reply(third)]).toEqual([UNASKED, UNASKED]);
    expect(a.ask('lock-locked', { name: 'l' })).toBe(true);
    expect(a.ask('lock-release', { name: 'l', lease: 1 })).toBeNull();
    expect([b.reply(second), a.reply(third)]).toEqual([true, UNASKED]);
    expect(b.ask('lock-release', { name: 'l', lease: 1 })).toBeNull();
    expect(a.reply(third)).toBe(true);
    expect(a.ask('lock-release', { name: 'l', lease: 2 })).toBeNull();
    expect(a.ask('lock-locked', { name: 'l' })).toBe(false);
  });

  test('whose holder is gone goes to the next in line, who cannot be gone too', () => {
    const { farm, a, b } = setUp();
    const c = new Asker(farm, 'c');
    a.ask('lock-acquire', lock(1));
    b.begin('lock-acquire', lock(1));
    const waiting = c.begin('lock-acquire', lock(1));
    b.fake.lose();
    expect(c.reply(waiting)).toBe(UNASKED);
    a.fake.lose();
    expect(c.reply(waiting)).toBe(true);
  });

  test('is given up waiting for after the timeout, and at once with none', () => {
    const { farm, a, b } = setUp();
    a.ask('lock-acquire', lock(1));
    expect(b.ask('lock-acquire', lock(1, 0))).toBe(false);
    const late = b.begin('lock-acquire', lock(2, 100));
    expect(farm.others()).toEqual([{ do: 'wake-at', atMs: farm.nowMs + 100 }]);
    farm.tick(99);
    expect(b.reply(late)).toBe(UNASKED);
    farm.tick(1);
    expect(b.reply(late)).toBe(false);
    a.ask('lock-release', { name: 'l', lease: 1 });
    expect(a.ask('lock-locked', { name: 'l' })).toBe(false);
  });

  test('cannot be released by anybody but its holder, nor twice', () => {
    const { a, b } = setUp();
    a.ask('lock-acquire', lock(1));
    const notHeld = failureWith('ERR_ARGUMENT', 'lock l: lease 1 is not held');
    expect(b.ask('lock-release', { name: 'l', lease: 1 })).toEqual(notHeld);
    expect(a.ask('lock-release', { name: 'l', lease: 1 })).toBeNull();
    expect(a.ask('lock-release', { name: 'l', lease: 1 })).toEqual(notHeld);
  });

  test('that is asked for again with the same lease is granted again, and held once', () => {
    const { a, b } = setUp();
    a.ask('lock-acquire', lock(1));
    expect(a.ask('lock-acquire', lock(1))).toBe(true);
    a.ask('lock-release', { name: 'l', lease: 1 });
    expect(b.ask('lock-acquire', lock(1))).toBe(true);
  });

  test('that is released while it is waited for is not waited for any more', () => {
    const { a, b } = setUp();
    a.ask('lock-acquire', lock(1));
    const waiting = b.begin('lock-acquire', lock(7));
    expect(b.ask('lock-acquire', lock(7))).toEqual(failureWith('ERR_ARGUMENT', 'waited for'));
    expect(b.ask('lock-release', { name: 'l', lease: 7 })).toBeNull();
    expect(b.reply(waiting)).toBe(false);
    a.ask('lock-release', { name: 'l', lease: 1 });
    expect(a.ask('lock-locked', { name: 'l' })).toBe(false);
  });
});

describe('a semaphore', () => {
  const semaphore = (lease: number, leasesMax = 2) =>
    ({ name: 's', lease, leasesMax, timeoutMs: null }) as const;

  test('has as many leases as it was made with, and never more are out', () => {
    const { a, b } = setUp();
    expect(a.ask('semaphore-acquire', semaphore(1))).toBe(true);
    expect(b.ask('semaphore-acquire', semaphore(1))).toBe(true);
    const third = b.begin('semaphore-acquire', semaphore(2));
    expect(b.reply(third)).toBe(UNASKED);
    expect(a.ask('semaphore-value', { name: 's' })).toBe(2);
    a.ask('semaphore-release', { name: 's', lease: 1 });
    expect(b.reply(third)).toBe(true);
    expect(a.ask('semaphore-value', { name: 's' })).toBe(2);
  });

  test('gets all leases of a holder back that is gone', () => {
    const { farm, a, b } = setUp();
    const c = new Asker(farm, 'c');
    a.ask('semaphore-acquire', semaphore(1));
    a.ask('semaphore-acquire', semaphore(2));
    const waiting = [b, c].map((asker) => asker.begin('semaphore-acquire', semaphore(1)));
    a.fake.close();
    expect([b.reply(waiting[0] ?? 0), c.reply(waiting[1] ?? 0)]).toEqual([true, true]);
    expect(c.ask('semaphore-value', { name: 's' })).toBe(2);
  });

  test('has another number of leases only after it was of no use', () => {
    const { a, b } = setUp();
    a.ask('semaphore-acquire', semaphore(1));
    const other = failureWith('ERR_ARGUMENT', 'semaphore s has 2 leases while it is in use, not 3');
    expect(b.ask('semaphore-acquire', semaphore(1, 3))).toEqual(other);
    a.ask('semaphore-release', { name: 's', lease: 1 });
    expect(b.ask('semaphore-acquire', semaphore(1, 3))).toBe(true);
    expect(a.ask('semaphore-acquire', { ...semaphore(1, 0), name: 'n' })).toEqual(
      failureWith('ERR_ARGUMENT'),
    );
    const tooMany = LIMITS.semaphoreLeasesMax + 1;
    expect(a.ask('semaphore-acquire', { ...semaphore(1, tooMany), name: 'n' })).toEqual(
      failureWith('ERR_LIMIT', 'semaphoreLeasesMax'),
    );
  });

  test('is no lock of the same name', () => {
    const { a, b } = setUp();
    a.ask('semaphore-acquire', semaphore(1, 1));
    expect(b.ask('lock-acquire', { name: 's', lease: 1, timeoutMs: null })).toBe(true);
  });
});

describe('an event', () => {
  test('lets all through once it is set, and none once it is cleared', () => {
    const { a, b } = setUp();
    const wait = { name: 'e', timeoutMs: null } as const;
    const waiting = [a.begin('event-wait', wait), a.begin('event-wait', wait)];
    expect(b.ask('event-is-set', { name: 'e' })).toBe(false);
    expect(waiting.map((request) => a.reply(request))).toEqual([UNASKED, UNASKED]);
    b.ask('event-set', { name: 'e' });
    expect(waiting.map((request) => a.reply(request))).toEqual([true, true]);
    expect(b.ask('event-wait', wait)).toBe(true);
    b.ask('event-clear', { name: 'e' });
    expect(b.ask('event-is-set', { name: 'e' })).toBe(false);
    expect(b.reply(b.begin('event-wait', wait))).toBe(UNASKED);
  });

  test('is waited for no longer than the timeout', () => {
    const { farm, a, b } = setUp();
    const brief = a.begin('event-wait', { name: 'e', timeoutMs: 10 });
    const long = b.begin('event-wait', { name: 'e', timeoutMs: 20 });
    farm.tick(10);
    expect([a.reply(brief), b.reply(long)]).toEqual([false, UNASKED]);
    a.ask('event-set', { name: 'e' });
    expect(b.reply(long)).toBe(true);
    farm.tick(20);
    expect(a.reply(brief)).toBe(false);
  });
});

describe('a queue', () => {
  const put = (value: string, sizeMax: number | null = null, timeoutMs: number | null = null) =>
    ({ name: 'q', item: item(value), sizeMax, timeoutMs }) as const;
  const get = (min = 1, max = 1, timeoutMs: number | null = null) =>
    ({ name: 'q', min, max, timeoutMs, ids: noIds }) as const;

  test('gives what was put in the same order, once', () => {
    const { a, b } = setUp();
    for (const value of ['x', 'y', 'z']) expect(a.ask('queue-put', put(value))).toBeNull();
    expect(a.ask('queue-size', { name: 'q' })).toBe(3);
    expect(b.got(b.begin('queue-get', get())).texts).toEqual(['x']);
    expect(a.got(a.begin('queue-get', get(0, 100))).texts).toEqual(['y', 'z']);
    expect(a.got(a.begin('queue-get', get(0, 100))).texts).toEqual([]);
    expect(a.ask('queue-size', { name: 'q' })).toBe(0);
  });

  test('serves who waits in the order of arrival, each with what it asked for', () => {
    const { a, b } = setUp();
    const three = a.begin('queue-get', get(3, 3));
    const one = b.begin('queue-get', get());
    for (const value of ['1', '2']) a.ask('queue-put', put(value));
    expect([a.reply(three), b.reply(one)]).toEqual([UNASKED, UNASKED]);
    for (const value of ['3', '4']) a.ask('queue-put', put(value));
    expect(a.got(three).texts).toEqual(['1', '2', '3']);
    expect(b.got(one).texts).toEqual(['4']);
  });

  test('that is full has puts wait for room', () => {
    const { farm, a, b } = setUp();
    a.ask('queue-put', put('1', 1));
    const second = a.begin('queue-put', put('2'));
    const third = b.begin('queue-put', put('3', 1, 50));
    expect([a.reply(second), b.reply(third)]).toEqual([UNASKED, UNASKED]);
    expect(b.got(b.begin('queue-get', get())).texts).toEqual(['1']);
    expect([a.reply(second), b.reply(third)]).toEqual([null, UNASKED]);
    farm.tick(50);
    expect(b.reply(third)).toEqual(failureWith('ERR_TIMEOUT', 'queue q'));
    expect(b.got(b.begin('queue-get', get(0, 9))).texts).toEqual(['2']);
  });

  test('gives more than it has room for to who waits for that many', () => {
    const { a, b } = setUp();
    const three = b.begin('queue-get', get(3, 3));
    const puts = ['1', '2', '3', '4'].map((value) => a.begin('queue-put', put(value, 2)));
    expect(b.got(three).texts).toEqual(['1', '2', '3']);
    expect(puts.map((request) => a.reply(request))).toEqual([null, null, null, null]);
    expect(a.ask('queue-size', { name: 'q' })).toBe(1);
  });

  test('is waited for no longer than the timeout; who waits behind is served then', () => {
    const { farm, a, b } = setUp();
    const two = a.begin('queue-get', get(2, 2, 10));
    const one = b.begin('queue-get', get());
    b.ask('queue-put', put('x'));
    farm.tick(10);
    expect(a.reply(two)).toEqual(failureWith('ERR_TIMEOUT', 'queue q'));
    expect(b.got(one).texts).toEqual(['x']);
  });

  test('keeps one bound while it is in use', () => {
    const { a } = setUp();
    a.ask('queue-put', put('x', 5));
    expect(a.ask('queue-put', put('y', 6))).toEqual(failureWith('ERR_ARGUMENT', 'room for 5'));
    expect(a.ask('queue-put', put('y'))).toBeNull();
    a.ask('queue-get', get(2, 2));
    expect(a.ask('queue-put', put('y', 6))).toBeNull();
    expect(a.ask('queue-put', { ...put('y', 0), name: 'n' })).toEqual(failureWith('ERR_ARGUMENT'));
    expect(a.ask('queue-get', get(2, 1))).toEqual(failureWith('ERR_ARGUMENT'));
  });

  test('that is closed drops what is in it and refuses who waits', () => {
    const { farm, a, b } = setUp();
    const x = a.fake.submit({ key: 'x' });
    a.ask('queue-put', { ...put('1', 1), item: item('', x) });
    const waiting = b.begin('queue-put', put('2'));
    a.fake.release(x);
    expect(farm.core.counts()['no-worker']).toBe(1);
    expect(a.ask('queue-close', { name: 'q' })).toBeNull();
    expect(b.reply(waiting)).toEqual(failureWith('ERR_CLOSED', 'queue q'));
    expect(farm.core.statistics().blocks).toBe(0);
  });

  test('loses what waits for room with the client that put it', () => {
    const { a, b } = setUp();
    a.ask('queue-put', put('1', 1));
    b.begin('queue-put', put('2'));
    b.fake.lose();
    expect(a.got(a.begin('queue-get', get(0, 9))).texts).toEqual(['1']);
  });

  test('has a limit, which is an error', () => {
    const { a } = setUp();
    const puts = Array.from({ length: LIMITS.queueItemsMax }, (_, at) =>
      ask(at + 1, 'queue-put', put('')),
    );
    while (puts.length > 0) a.fake.say(...puts.splice(0, 20_000));
    a.fake.take();
    expect(a.ask('queue-put', { ...put(''), name: 'other' })).toBeNull();
    a.fake.say(ask(-1, 'queue-put', put('')));
    const [reply] = a.fake.taken('reply');
    expect(reply?.error).toEqual(failureWith('ERR_LIMIT', 'queueItemsMax'));
  });
});

describe('futures in shared values', () => {
  const ids = { first: 500, count: 2 };

  test('stay wanted although every client has released them, and go with the value', () => {
    const { farm, a } = setUp();
    const worker = farm.worker('w');
    const x = a.fake.submit({ key: 'x' });
    a.ask('variable-set', { name: 'v', item: item('', x) });
    a.fake.release(x);
    worker.finish();
    expect(farm.core.counts().memory).toBe(1);
    a.ask('variable-set', { name: 'v', item: item('plain') });
    expect(farm.core.counts().memory).toBe(0);
  });

  test('become futures of the receiver, finished, pending or failed', () => {
    const { farm, a, b } = setUp();
    const worker = farm.worker('w');
    const [done, failing, pending] = ['done', 'failing', 'pending'].map((key) =>
      a.fake.submit({ key }),
    );
    worker.finish({ done: 'result' });
    worker.fail('failing');
    const all = item('', done ?? -1, failing ?? -1, pending ?? -1);
    a.ask('dataset-publish', { name: 'd', item: all, override: false });
    a.fake.close();
    const request = b.begin('dataset-get', { name: 'd', ids: { first: 40, count: 10 } });
    expect(b.got(request)).toEqual({
      texts: [''],
      ids: [40, 41, 42],
      keys: ['done', 'failing', 'pending'],
    });
    expect(b.results()).toEqual(new Map([[40, 'result']]));
    expect(b.heard).toContainEqual(expect.objectContaining({ op: 'failed', ids: [41] }));
    worker.finish({ pending: 'late' });
    expect(b.results().get(42)).toBe('late');
    b.ask('dataset-unpublish', { name: 'd' });
    expect(farm.core.counts()).toMatchObject({ memory: 2, erred: 1 });
    b.fake.release(40, 41, 42);
    expect(farm.core.statistics().blocks).toBe(0);
  });

  test('that come after they were asked for come with the answer', () => {
    const { farm, a, b } = setUp();
    const worker = farm.worker('w');
    const waiting = b.begin('variable-get', { name: 'v', timeoutMs: null, ids });
    const x = a.fake.submit({ key: 'x' });
    a.ask('variable-set', { name: 'v', item: item('', x) });
    a.ask('variable-delete', { name: 'v' });
    a.fake.close();
    expect(b.got(waiting).ids).toEqual([500]);
    worker.finish({ x: 'value' });
    expect(b.results()).toEqual(new Map([[500, 'value']]));
  });

  test('need as many ids as there are futures; without, nothing is taken', () => {
    const { farm, a, b } = setUp();
    const three = [a.fake.submit(), a.fake.submit(), a.fake.submit()];
    a.ask('queue-put', { name: 'q', item: item('', ...three), sizeMax: null, timeoutMs: null });
    const get = { name: 'q', min: 1, max: 1, timeoutMs: null } as const;
    expect(b.ask('queue-get', { ...get, ids })).toEqual({ items: [], needed: 3 });
    const [, used] = [b.fake.submit(), b.fake.submit()];
    const taken = { first: used, count: 3 };
    expect(b.ask('queue-get', { ...get, ids: taken })).toEqual(failureWith('ERR_ARGUMENT'));
    expect(b.got(b.begin('queue-get', { ...get, ids: { first: 9, count: 3 } })).ids).toEqual([
      9, 10, 11,
    ]);
    a.fake.close();
    b.fake.release(0, 1, 9, 10, 11);
    expect(farm.core.statistics().blocks).toBe(0);
  });

  test('must be the futures of the one who shares them', () => {
    const { a, b } = setUp();
    const x = a.fake.submit();
    const foreign = failureWith('ERR_FOREIGN_FUTURE', 'variable v');
    expect(b.ask('variable-set', { name: 'v', item: item('', x) })).toEqual(foreign);
    a.fake.release(x);
    expect(a.ask('variable-set', { name: 'v', item: item('', x) })).toEqual(foreign);
  });

  test('are not stopped when their client cancels them, and are lost with no worker', () => {
    const { farm, a, b } = setUp();
    const worker = farm.worker('w');
    const x = a.fake.submit({ key: 'x' });
    a.ask('variable-set', { name: 'v', item: item('', x, x) });
    a.fake.cancel(x);
    worker.finishLarge('x', 10_000);
    worker.lose();
    const other = farm.worker('other');
    expect(other.keys()).toEqual(['x']);
    other.finish({ x: 'again' });
    b.ask('variable-get', { name: 'v', timeoutMs: null, ids });
    expect([...b.results().values()]).toEqual(['again', 'again']);
  });
});

describe('a variable', () => {
  test('is what it was set to last; who waits for it gets it', () => {
    const { a, b } = setUp();
    const get = { name: 'v', timeoutMs: null, ids: noIds } as const;
    const waiting = b.begin('variable-get', get);
    expect(b.reply(waiting)).toBe(UNASKED);
    a.ask('variable-set', { name: 'v', item: item('1') });
    expect(b.got(waiting).texts).toEqual(['1']);
    a.ask('variable-set', { name: 'v', item: item('2') });
    expect(b.got(b.begin('variable-get', get)).texts).toEqual(['2']);
    expect(b.ask('variable-delete', { name: 'v' })).toBe(true);
    expect(b.ask('variable-delete', { name: 'v' })).toBe(false);
    expect(b.ask('variable-get', { ...get, timeoutMs: 0 })).toEqual(failureWith('ERR_TIMEOUT'));
  });
});

describe('a dataset', () => {
  test('is published once, unless it is to be replaced', () => {
    const { a, b } = setUp();
    const publish = (value: string, override: boolean) =>
      a.ask('dataset-publish', { name: 'd', item: item(value), override });
    expect(publish('1', false)).toBeNull();
    expect(publish('2', false)).toEqual(failureWith('ERR_ARGUMENT', 'd is published already'));
    expect(publish('3', true)).toBeNull();
    expect(b.ask('dataset-list', null)).toEqual(['d']);
    expect(b.got(b.begin('dataset-get', { name: 'd', ids: noIds })).texts).toEqual(['3']);
    expect(b.ask('dataset-get', { name: 'no', ids: noIds })).toEqual({ items: [], needed: null });
    expect(b.ask('dataset-unpublish', { name: 'd' })).toBe(true);
    expect(b.ask('dataset-unpublish', { name: 'd' })).toBe(false);
  });
});

describe('a topic', () => {
  test('tells its subscribers what happens from then on, and remembers', () => {
    const { farm, a, b } = setUp();
    const log = (value: string) => a.ask('topic-log', { name: 't', value: bytes(value) });
    log('before');
    b.ask('topic-subscribe', { name: 't' });
    b.ask('topic-subscribe', { name: 't' });
    farm.nowMs += 5;
    log('after');
    const { nowMs } = farm;
    expect(b.fake.take()).toEqual([
      { op: 'topic-event', topic: 't', atMs: nowMs, value: bytes('after') },
    ]);
    b.ask('topic-unsubscribe', { name: 't' });
    log('unheard');
    expect(b.fake.take()).toEqual([]);
    const history = b.ask('topic-events', { name: 't' });
    expect(history).toMatchObject([{ atMs: nowMs - 5 }, { atMs: nowMs }, { atMs: nowMs }]);
    expect(b.ask('topic-events', { name: 'other' })).toEqual([]);
  });

  test('forgets its oldest events, by their number and by their size', () => {
    const { a } = setUp();
    const events = (name: string): readonly { readonly value: Uint8Array }[] =>
      // SAFE: the answer of `topic-events` is a list of records.
      a.ask('topic-events', { name }) as readonly { readonly value: Uint8Array }[];
    const logs = Array.from({ length: LIMITS.topicEventsMax + 2 }, (_, at) =>
      ask(10_000 + at, 'topic-log', { name: 't', value: bytes(`${at}`) }),
    );
    a.fake.say(...logs);
    expect(events('t').length).toBe(LIMITS.topicEventsMax);
    expect(text(events('t')[0]?.value)).toBe('2');
    const large = new Uint8Array(LIMITS.sharedValueBytesMax);
    const fits = Math.floor(LIMITS.sharedTotalBytesMax / large.byteLength);
    for (let at = 0; at < fits + 1; at++) {
      expect(a.ask('topic-log', { name: 'large', value: large })).toBeNull();
    }
    expect(events('large').length).toBe(fits - 1);
    const tooLarge = new Uint8Array(large.byteLength + 1);
    expect(a.ask('topic-log', { name: 'large', value: tooLarge })).toEqual(
      failureWith('ERR_LIMIT', 'sharedValueBytesMax'),
    );
    expect(events('large').length).toBe(fits - 1);
    expect(a.ask('variable-set', { name: 'v', item: sharedItem(large, []) })).toEqual(
      failureWith('ERR_LIMIT', 'sharedTotalBytesMax'),
    );
  });
});

test('metadata is a tree of values', () => {
  const { a, b } = setUp();
  const set = (path: readonly string[], value: string | null) =>
    a.ask('metadata-set', { path, value: value === null ? null : bytes(value) });
  const get = (...path: readonly string[]): unknown => {
    // SAFE: the answer of `metadata-get` is a list of entries.
    const entries = b.ask('metadata-get', { path }) as readonly {
      readonly path: readonly string[];
      readonly value: Uint8Array;
    }[];
    return entries.map((entry) => [entry.path.join('.'), text(entry.value)]);
  };
  set(['run', 'host'], 'h');
  set(['run', 'start', 'ms'], '7');
  set(['__proto__'], 'p');
  expect(get('run')).toEqual([
    ['host', 'h'],
    ['start.ms', '7'],
  ]);
  expect(get('run', 'start', 'ms')).toEqual([['', '7']]);
  expect(get('__proto__')).toEqual([['', 'p']]);
  expect(get('constructor')).toEqual([]);
  expect(get('run', 'host', 'deeper')).toEqual([]);
  set(['run', 'start'], 'now');
  expect(get('run')).toEqual([
    ['host', 'h'],
    ['start', 'now'],
  ]);
  set(['run', 'host', 'name'], 'n');
  set(['run', 'start'], null);
  expect(get('run')).toEqual([['host.name', 'n']]);
  expect(set([], 'x')).toEqual(failureWith('ERR_ARGUMENT'));
  set([], null);
  expect(get()).toEqual([]);
});

describe('all of it', () => {
  test('ends with the last client, but for variables, datasets and metadata', () => {
    const { farm, a, b } = setUp();
    const x = a.fake.submit();
    a.ask('lock-acquire', { name: 'n', lease: 1, timeoutMs: null });
    a.ask('event-set', { name: 'n' });
    a.ask('queue-put', { name: 'n', item: item('', x), sizeMax: null, timeoutMs: null });
    a.ask('variable-set', { name: 'n', item: item('v') });
    a.ask('dataset-publish', { name: 'n', item: item('d'), override: false });
    a.ask('topic-log', { name: 'n', value: bytes('t') });
    a.ask('topic-subscribe', { name: 'n' });
    a.ask('metadata-set', { path: ['n'], value: bytes('m') });
    a.fake.close();
    expect(b.ask('event-is-set', { name: 'n' })).toBe(true);
    expect(b.ask('queue-size', { name: 'n' })).toBe(1);
    b.fake.lose();
    expect(farm.core.statistics()).toMatchObject({ blocks: 0, shared: 3, sharedBytes: 3 });
    const c = new Asker(farm, 'c');
    expect(c.ask('event-is-set', { name: 'n' })).toBe(false);
    expect(c.ask('topic-events', { name: 'n' })).toEqual([]);
    expect(c.got(c.begin('variable-get', { name: 'n', timeoutMs: 0, ids: noIds })).texts).toEqual([
      'v',
    ]);
    c.ask('variable-delete', { name: 'n' });
    c.ask('dataset-unpublish', { name: 'n' });
    c.ask('metadata-set', { path: [], value: null });
    expect(farm.core.statistics()).toMatchObject({ shared: 0, sharedBytes: 0 });
  });

  test('is limited in names and in requests that wait', () => {
    const { a } = setUp();
    const names = Array.from({ length: LIMITS.sharedNamesMax }, (_, at) =>
      ask(100_000 + at, 'event-set', { name: `e${at}` }),
    );
    a.fake.say(...names);
    expect(a.ask('event-set', { name: 'more' })).toEqual(
      failureWith('ERR_LIMIT', 'sharedNamesMax'),
    );
    expect(a.ask('event-set', { name: 'e0' })).toBeNull();
    a.ask('event-clear', { name: 'e0' });
    const waits = Array.from({ length: LIMITS.sharedWaitingMax }, (_, at) =>
      ask(200_000 + at, 'event-wait', { name: 'w', timeoutMs: null }),
    );
    a.fake.say(...waits);
    expect(a.ask('event-wait', { name: 'w', timeoutMs: null })).toEqual(
      failureWith('ERR_LIMIT', 'sharedWaitingMax'),
    );
  });
});
