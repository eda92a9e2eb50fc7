import { describe, expect, it } from 'vitest';

import {
  LIMITS,
  accepted,
  cancelled,
  clientHeartbeat,
  defineFunction,
  getResult,
  recomputing,
  release,
} from '@farm/protocol';
import type { AcceptedConnections, ClientMessage, DialedConnections } from '@farm/protocol';
import { record } from './recorder.ts';
import { containing } from './texts.ts';

/** Both ends of a client's connection over some transport. */
export interface Ends extends AsyncDisposable {
  readonly client: DialedConnections['client'];
  readonly scheduler: AcceptedConnections['client'];
}

/** What every transport has to hold to. */
export function connectionConformance(
  transport: string,
  open: (options: { readonly sendBufferBytesMax?: number }) => Promise<Ends>,
): void {
  describe(`a connection over ${transport}`, () => {
    it('carries what is sent in one tick as one batch, in order', async () => {
      await using ends = await open({});
      const scheduler = record(ends.scheduler);
      for (let id = 0; id < 100; id++) ends.client.send(release([id, 1]));
      await scheduler.until(() => scheduler.heard.length === 100);
      expect(scheduler.batches).toHaveLength(1);
      expect(scheduler.heard).toEqual(Array.from({ length: 100 }, (_, id) => release([id, 1])));
    });

    it('carries both directions at once', async () => {
      await using ends = await open({});
      const scheduler = record(ends.scheduler);
      const client = record(ends.client);
      ends.client.send(clientHeartbeat());
      ends.scheduler.send(accepted(1, 2));
      await Promise.all([
        scheduler.until(() => scheduler.heard.length === 1),
        client.until(() => client.heard.length === 1),
      ]);
      expect(client.heard).toEqual([accepted(1, 2)]);
    });

    it('keeps bulk frames in order with messages, whatever their size', async () => {
      await using ends = await open({});
      const client = record(ends.client);
      const sizes = [0, 1, 1_000, 40_000, LIMITS.bulkChunkBytes, 3];
      for (const [request, size] of sizes.entries()) {
        ends.scheduler.send(recomputing([request]));
        const bytes = new Uint8Array(size).fill(request);
        ends.scheduler.sendBulk({ request, totalBytes: size + 8, offset: 8, bytes });
      }
      await client.until(() => client.bulks.length === sizes.length);
      expect(client.trace).toBe('mb'.repeat(sizes.length));
      for (const [request, size] of sizes.entries()) {
        const { bytes, ...rest } = client.bulks[request] ?? {};
        expect(rest).toEqual({ request, totalBytes: size + 8, offset: 8 });
        expect(Buffer.from(bytes ?? [1, 2]).equals(Buffer.alloc(size, request))).toBe(true);
      }
    });

    it('splits a large batch into several frames and loses nothing', async () => {
      await using ends = await open({});
      const scheduler = record(ends.scheduler);
      const spec = new Uint8Array(300_000);
      const sent = Array.from({ length: 20 }, (_, index) => defineFunction(`h${index}`, 'f', spec));
      for (const message of sent) ends.client.send(message);
      await scheduler.until(() => scheduler.heard.length === sent.length);
      expect(scheduler.batches.length).toBeGreaterThan(1);
      const hashes = scheduler.heard.map((message) => 'hash' in message && message.hash);
      expect(hashes).toEqual(sent.map(({ hash }) => hash));
    });

    it('delivers what arrived before anyone listened', async () => {
      await using ends = await open({});
      const client = record(ends.client);
      ends.client.send(clientHeartbeat());
      ends.client.send(getResult(1, 1, 0, 10));
      ends.scheduler.send(accepted(1, 1));
      await client.until(() => client.heard.length === 1);
      const scheduler = record(ends.scheduler);
      await scheduler.until(() => scheduler.heard.length === 2);
      expect(scheduler.heard).toEqual([clientHeartbeat(), getResult(1, 1, 0, 10)]);
    });

    it('calls handlers from the event loop, never from within a call', async () => {
      await using ends = await open({});
      let isInside = true;
      const heard: boolean[] = [];
      const done = Promise.withResolvers<void>();
      ends.scheduler.listen({
        messages: () => heard.push(isInside),
        bulk: () => heard.push(isInside),
        closed: () => {
          heard.push(isInside);
          done.resolve();
        },
      });
      ends.client.send(clientHeartbeat());
      isInside = false;
      await new Promise(setImmediate);
      isInside = true;
      ends.scheduler.terminate();
      isInside = false;
      await done.promise;
      expect(heard).not.toContain(true);
    });

    it('lets a sent object be changed afterwards', async () => {
      await using ends = await open({});
      const scheduler = record(ends.scheduler);
      const ranges = [1, 1];
      ends.client.send(release(ranges));
      ranges[0] = 99;
      await scheduler.until(() => scheduler.heard.length === 1);
      expect(scheduler.heard).toEqual([release([1, 1])]);
    });

    it('refuses a message larger than a frame where it is sent, naming it', async () => {
      await using ends = await open({});
      const scheduler = record(ends.scheduler);
      const spec = new Uint8Array(LIMITS.frameBytesMax);
      expect(() => ends.client.send(defineFunction('h', 'f', spec))).toThrow(
        expect.objectContaining({
          code: 'ERR_LIMIT',
          message: containing('define-function of 67108'),
        }),
      );
      expect(() =>
        ends.scheduler.sendBulk({ request: 1, totalBytes: spec.length, offset: 0, bytes: spec }),
      ).toThrow(expect.objectContaining({ code: 'ERR_LIMIT' }));
      ends.client.send(clientHeartbeat());
      await scheduler.until(() => scheduler.heard.length === 1);
      expect(scheduler.closes).toEqual([]);
    });

    it('counts the bytes that wait', async () => {
      await using ends = await open({});
      const client = record(ends.client);
      const bytes = new Uint8Array(LIMITS.bulkChunkBytes);
      for (let request = 0; request < 32; request++) {
        ends.scheduler.sendBulk({ request, totalBytes: bytes.length, offset: 0, bytes });
      }
      ends.scheduler.send(accepted(1, 1));
      expect(ends.scheduler.bufferedBytes).toBeGreaterThan(bytes.length);
      await client.until(() => client.heard.length === 1);
      // What the peer has read was given to the kernel; the bookkeeping follows within a tick.
      while (ends.scheduler.bufferedBytes > 0) await new Promise(setImmediate);
      expect(ends.scheduler.bufferedBytes).toBe(0);
    });

    it('drops a peer that reads too slowly, and says so to both', async () => {
      await using ends = await open({ sendBufferBytesMax: 8_000_000 });
      const scheduler = record(ends.scheduler);
      const client = record(ends.client);
      const bytes = new Uint8Array(LIMITS.bulkChunkBytes);
      for (let request = 0; request < 64; request++) {
        ends.scheduler.sendBulk({ request, totalBytes: bytes.length, offset: 0, bytes });
      }
      const why = await scheduler.untilClosed();
      expect(why).toMatchObject({
        code: 'ERR_LIMIT',
        message: containing('reads too slowly'),
      });
      await client.untilClosed();
      expect(ends.scheduler.bufferedBytes).toBeLessThan(9_000_000);
    });

    it('sends what is queued before it closes, then tells each side once why', async () => {
      await using ends = await open({});
      const scheduler = record(ends.scheduler);
      const client = record(ends.client);
      const bytes = new Uint8Array(LIMITS.bulkChunkBytes);
      for (let request = 0; request < 16; request++) {
        ends.scheduler.sendBulk({ request, totalBytes: bytes.length, offset: 0, bytes });
      }
      ends.scheduler.send(cancelled([1], 'last words'));
      const closing = ends.scheduler.close();
      expect(ends.scheduler.close()).toBe(closing);
      await closing;
      expect(await client.untilClosed()).toMatchObject({ code: 'ERR_CONNECTION_LOST' });
      expect(await scheduler.untilClosed()).toMatchObject({ code: 'ERR_CLOSED' });
      expect(client.trace).toBe(`${'b'.repeat(16)}mc`);
      await ends.client.close();
      ends.client.terminate();
      await new Promise(setImmediate);
      expect([client.closes.length, scheduler.closes.length]).toEqual([1, 1]);
    });

    it('delivers nothing after close() but closed, and drops what is sent', async () => {
      await using ends = await open({});
      const scheduler = record(ends.scheduler);
      const client = record(ends.client);
      ends.scheduler.send(accepted(1, 1));
      const closing = ends.client.close();
      ends.client.send(clientHeartbeat());
      ends.client.sendBulk({ request: 1, totalBytes: 1, offset: 0, bytes: new Uint8Array(1) });
      await closing;
      await scheduler.untilClosed();
      expect(await client.untilClosed()).toMatchObject({ code: 'ERR_CLOSED' });
      expect([client.trace, scheduler.trace]).toEqual(['c', 'c']);
    });

    it('tells both sides of a termination', async () => {
      await using ends = await open({});
      const scheduler = record(ends.scheduler);
      const client = record(ends.client);
      ends.client.terminate();
      expect(await client.untilClosed()).toMatchObject({ code: 'ERR_CLOSED' });
      expect(await scheduler.untilClosed()).toMatchObject({ code: 'ERR_CONNECTION_LOST' });
    });

    it('closes with the reason where the peer says what it may not say', async () => {
      await using ends = await open({});
      const scheduler = record(ends.scheduler);
      const client = record(ends.client);
      const message: unknown = accepted(1, 1);
      ends.client.send(clientHeartbeat());
      // SAFE: the wrong type is what this is about.
      ends.client.send(message as ClientMessage);
      expect(await scheduler.untilClosed()).toMatchObject({
        code: 'ERR_PROTOCOL',
        message: containing('unknown op "accepted" from a client'),
      });
      expect(await client.untilClosed()).toMatchObject({
        code: 'ERR_PROTOCOL',
        message: containing('unknown op "accepted" from a client'),
      });
      expect(scheduler.heard).toEqual([]);
    });
  });
}
