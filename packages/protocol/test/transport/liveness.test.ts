import { createServer, connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { once } from 'node:events';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { clientHeartbeat, dial } from '@farm/protocol';
import { livenessTimes, watchLiveness } from '../../src/transport/liveness.ts';
import { record } from './recorder.ts';
import { CLIENT_HELLO, startRig } from './rig.ts';
import { containing } from './texts.ts';

describe('watchLiveness', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function watched(): {
    bytesRead: number;
    isPaused: boolean;
    ping: ReturnType<typeof vi.fn<() => void>>;
    dead: ReturnType<typeof vi.fn<() => void>>;
  } {
    return { bytesRead: 0, isPaused: false, ping: vi.fn<() => void>(), dead: vi.fn<() => void>() };
  }

  it('pings every 5 s and gives up after 15 s of silence, once', () => {
    const peer = watched();
    watchLiveness(peer);
    vi.advanceTimersByTime(13_500);
    expect([peer.ping.mock.calls.length, peer.dead.mock.calls.length]).toEqual([2, 0]);
    vi.advanceTimersByTime(100_000);
    expect(peer.dead.mock.calls.length).toBe(1);
  });

  it.each([15_000, 2_000])('finds silence out within %i ms, whenever it begins', (deadMs) => {
    for (let part = 0; part < 20; part++) {
      const peer = watched();
      const stop = watchLiveness(peer, livenessTimes(deadMs));
      const beginsMs = Math.round((deadMs * part) / 20);
      for (let ms = 0; ms < beginsMs; ms++) {
        vi.advanceTimersByTime(1);
        peer.bytesRead++;
      }
      vi.advanceTimersByTime(deadMs * 0.9);
      expect(peer.dead).not.toHaveBeenCalled();
      vi.advanceTimersByTime(deadMs * 0.1);
      expect(peer.dead).toHaveBeenCalledTimes(1);
      stop();
    }
  });

  it('is content with any byte', () => {
    const peer = watched();
    watchLiveness(peer);
    for (let second = 0; second < 100; second += 10) {
      vi.advanceTimersByTime(10_000);
      peer.bytesRead++;
    }
    expect(peer.dead).not.toHaveBeenCalled();
  });

  it('does not count silence while this side holds data back', () => {
    const peer = watched();
    peer.isPaused = true;
    watchLiveness(peer);
    vi.advanceTimersByTime(60_000);
    expect(peer.dead).not.toHaveBeenCalled();
  });

  it('stops when told', () => {
    const peer = watched();
    watchLiveness(peer)();
    vi.advanceTimersByTime(60_000);
    expect([peer.ping.mock.calls.length, peer.dead.mock.calls.length]).toEqual([0, 0]);
  });
});

describe('a connection whose peer vanished without a word', () => {
  /** A proxy that can stop forwarding while its sockets stay open: a half-open connection. */
  async function startProxy(target: number): Promise<{
    readonly port: number;
    readonly cut: () => void;
    readonly close: () => void;
  }> {
    const sockets: Socket[] = [];
    const server = createServer((inner) => {
      const outer = connect(target, '127.0.0.1');
      sockets.push(inner, outer);
      for (const socket of [inner, outer]) socket.on('error', () => {});
      inner.pipe(outer);
      outer.pipe(inner);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return {
      // SAFE: a TCP server that listens has an address of this form.
      port: (server.address() as AddressInfo).port,
      cut: () => sockets.forEach((socket) => socket.unpipe()),
      close: () => {
        sockets.forEach((socket) => socket.destroy());
        server.close();
      },
    };
  }

  it('is closed on both sides; one that answers pings is not', async () => {
    const liveness = { pingMs: 20, deadMs: 150 };
    await using rig = await startRig({ liveness });
    const proxy = await startProxy(rig.server.address.port);
    const { connection } = await dial({
      address: { secure: false, host: '127.0.0.1', port: proxy.port },
      role: 'client',
      token: rig.tokens.client,
      hello: CLIENT_HELLO,
      timeoutMs: 5_000,
      liveness,
    });
    const client = record(connection);
    const scheduler = record(await rig.accepted());
    const idle = await rig.dial({ liveness });
    const idleClient = record(idle);
    const idleScheduler = record(await rig.accepted());
    proxy.cut();
    const lost = {
      code: 'ERR_CONNECTION_LOST',
      message: containing('nothing was heard'),
    };
    expect(await client.untilClosed()).toMatchObject(lost);
    expect(await scheduler.untilClosed()).toMatchObject(lost);
    expect([client.trace, scheduler.trace]).toEqual(['c', 'c']);
    idle.send(clientHeartbeat());
    await idleScheduler.until(() => idleScheduler.heard.length === 1);
    expect(idleClient.closes).toEqual([]);
    proxy.close();
  });

  it('does not count time in which this process stood still', async () => {
    const liveness = { pingMs: 20, deadMs: 150 };
    await using rig = await startRig({ liveness });
    const client = await rig.dial({ liveness });
    const atClient = record(client);
    const scheduler = record(await rig.accepted());
    for (let stall = 0; stall < 3; stall++) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
      client.send(clientHeartbeat());
      await scheduler.until(() => scheduler.heard.length === stall + 1);
    }
    expect([atClient.closes, scheduler.closes]).toEqual([[], []]);
  });
});
