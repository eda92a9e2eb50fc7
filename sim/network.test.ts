import { describe, expect, test } from 'vitest';

import { Clock } from './clock.ts';
import { Network } from './network.ts';
import type { End } from './connection-end.ts';
import { SimulatedProcess } from './process.ts';

const SETTINGS = { delayMs: [1, 1], jitter: 0.5, silenceMs: 1_000, dialMs: 400 } as const;

/** A client and a server with an open connection, and what each has heard. */
function aPair() {
  const clock = new Clock();
  const network = new Network<number>(clock, 1, SETTINGS);
  const client = new SimulatedProcess(clock, 'client', 'here');
  const server = new SimulatedProcess(clock, 'server', 'there');
  const heard: { client: (number | string)[]; server: (number | string)[] } = {
    client: [],
    server: [],
  };
  const ends: { client?: End<number>; server?: End<number> } = {};
  const listen = (who: 'client' | 'server', end: End<number>): void => {
    ends[who] = end;
    end.listen({
      heard: (payload) => heard[who].push(payload),
      closed: (reason) => heard[who].push(reason),
    });
  };
  network.listen<string>('there:1', {
    owner: server,
    refusal: (hello) => (hello === 'stranger' ? 'go away' : null),
    opened: (_hello, end) => listen('server', end),
  });
  network.dial(client, 'there:1', 'friend', 'there', {
    opened: (end) => listen('client', end),
    failed: (reason) => heard.client.push(`failed: ${reason}`),
  });
  const until = (atMs: number): void => clock.runUntil(atMs);
  until(100);
  return {
    clock,
    network,
    client,
    server,
    ends,
    heard,
    until,
    link: network.link('here', 'there'),
  };
}

test('what is said arrives in order, whatever the delays are', () => {
  const { ends, heard, until } = aPair();
  const numbers = Array.from({ length: 100 }, (_, index) => index);
  for (const number of numbers) ends.client?.send(number);
  until(1_000);
  expect(heard.server).toEqual(numbers);
});

test('a link that is cut holds everything back, and lets it go when it is mended', () => {
  const { ends, heard, until, link } = aPair();
  ends.client?.send(1);
  link.cut();
  until(500);
  expect(heard.server).toEqual([]);
  link.mend();
  ends.client?.send(2);
  until(600);
  expect(heard.server).toEqual([1, 2]);
});

test('both ends of a link that stays cut find out by silence', () => {
  const { heard, until, link } = aPair();
  link.cut();
  until(5_000);
  expect(heard.client).toEqual(['nothing was heard for 1000 ms']);
  expect(heard.server).toEqual(['nothing was heard for 1000 ms']);
});

test('a process that stands still does nothing, and hears everything afterwards', () => {
  const { ends, heard, until, server } = aPair();
  server.pause();
  ends.client?.send(1);
  until(800);
  expect(heard.server).toEqual([]);
  server.resume();
  expect(heard.server).toEqual([1]);
  until(5_000);
  expect(heard.client).toEqual([]);
});

test('whoever stood still itself does not count that as silence of the other', () => {
  const { heard, until, client, server } = aPair();
  client.pause();
  server.pause();
  until(9_000);
  client.resume();
  server.resume();
  until(9_900);
  expect(heard).toEqual({ client: [], server: [] });
});

describe('an end', () => {
  test('by close: what was said arrives first', () => {
    const { ends, heard, until } = aPair();
    ends.client?.send(1);
    ends.client?.close('bye');
    ends.client?.send(2);
    until(1_000);
    expect(heard.server).toEqual([1, 'bye']);
    expect(heard.client).toEqual(['bye']);
  });

  test('by a crash: some of what was said last may be lost, the rest is in order', () => {
    const { ends, heard, until, client } = aPair();
    for (let number = 0; number < 10; number++) ends.client?.send(number);
    client.die();
    ends.client?.terminate('crashed');
    until(1_000);
    const { length } = heard.server;
    expect(heard.server).toEqual([...Array(length - 1).keys(), 'crashed']);
    expect(heard.client).toEqual([]);
  });

  test('of a machine: found out by silence', () => {
    const { ends, heard, until, client } = aPair();
    ends.client?.send(1);
    client.die();
    ends.client?.vanish();
    until(500);
    expect(heard.server).toEqual([1]);
    until(3_000);
    expect(heard.server).toEqual([1, 'nothing was heard for 1000 ms']);
  });

  test('while the link was cut: told when it is mended', () => {
    const { ends, heard, until, client, link } = aPair();
    link.cut();
    client.die();
    ends.client?.terminate('crashed');
    until(300);
    link.mend();
    until(400);
    expect(heard.server).toEqual(['crashed']);
  });
});

describe('dialling', () => {
  const dial = (
    { network, client, until, clock }: ReturnType<typeof aPair>,
    hello: string,
    address: string,
  ): string[] => {
    const answers: string[] = [];
    network.dial(client, address, hello, 'there', {
      opened: () => answers.push('opened'),
      failed: (reason, isFinal) => answers.push(`${reason}${isFinal ? ', finally' : ''}`),
    });
    until(clock.nowMs + 1_000);
    return answers;
  };

  test('an address where nobody listens fails', () => {
    expect(dial(aPair(), 'friend', 'there:2')).toEqual(['connection refused']);
  });

  test('a server that says no says why', () => {
    expect(dial(aPair(), 'stranger', 'there:1')).toEqual(['go away, finally']);
  });

  test('over a link that is cut gets no answer in time', () => {
    const pair = aPair();
    pair.link.cut();
    expect(dial(pair, 'friend', 'there:1')).toEqual(['no answer in time']);
  });

  test('by a process that ends before it is answered leaves no connection behind', () => {
    const { network, until, clock, link } = aPair();
    const caller = new SimulatedProcess(clock, 'caller', 'here');
    const before = link.ends.size;
    network.dial(caller, 'there:1', 'friend', 'there', {
      opened: () => expect.unreachable('it is dead'),
      failed: () => expect.unreachable('it is dead'),
    });
    caller.pause();
    until(clock.nowMs + 50);
    caller.die();
    until(clock.nowMs + 200);
    expect(link.ends.size).toBe(before);
  });
});
