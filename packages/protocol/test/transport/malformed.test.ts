import { describe, expect, it } from 'vitest';
import type { WebSocket } from 'ws';

import { LIMITS, accepted, clientHeartbeat, encodeBatch, encodeBulkHeader } from '@farm/protocol';
import { rawOpen } from './raw.ts';
import { record } from './recorder.ts';
import { CLIENT_HELLO, startRig } from './rig.ts';
import { matching } from './texts.ts';

const bulk = encodeBulkHeader({ request: 1, totalBytes: 3, offset: 0, bytes: new Uint8Array(3) });
const good = Buffer.from(encodeBatch([clientHeartbeat()]));

/** Frames a client may not send, and what the scheduler says about them. */
const MALFORMED: readonly (readonly [string, (ws: WebSocket) => void, string, RegExp])[] = [
  ['text', (ws) => ws.send('{"op":"submit"}'), 'ERR_PROTOCOL', /text frame/],
  ['nothing', (ws) => ws.send(Buffer.alloc(0)), 'ERR_PROTOCOL', /ends too early/],
  ['noise', (ws) => ws.send(Buffer.from('c1c1c1', 'hex')), 'ERR_PROTOCOL', /malformed/],
  ['a torn batch', (ws) => ws.send(good.subarray(0, -1)), 'ERR_PROTOCOL', /malformed/],
  [
    'a count that lies',
    (ws) => ws.send(Buffer.from('dd7fffffff', 'hex')),
    'ERR_PROTOCOL',
    /announced/,
  ],
  ['deep nesting', (ws) => ws.send(Buffer.alloc(1_000_000, 0x91)), 'ERR_PROTOCOL', /deeper/],
  [
    'a message of the other side',
    (ws) => ws.send(encodeBatch([accepted(1, 1)])),
    'ERR_PROTOCOL',
    /unknown op "accepted"/,
  ],
  ['an unasked bulk frame', (ws) => ws.send(bulk), 'ERR_PROTOCOL', /bulk/],
  [
    'a frame past the limit',
    (ws) => ws.send(Buffer.alloc(LIMITS.frameBytesMax + 1)),
    'ERR_LIMIT',
    /larger than/,
  ],
  [
    'a frame in a thousand pieces',
    (ws) => {
      for (let piece = 0; piece < 1_000; piece++) ws.send(good, { fin: false });
    },
    'ERR_LIMIT',
    /pieces/,
  ],
];

describe('a malformed frame', () => {
  it.each(MALFORMED)('closes its connection and no other: %s', async (_what, act, code, text) => {
    await using rig = await startRig();
    const [client, scheduler] = await Promise.all([rig.dial(), rig.accepted()]);
    record(client);
    const atScheduler = record(scheduler);
    const ws = await rawOpen(`${rig.url}/farm/v1/client`, rig.tokens.client, CLIENT_HELLO);
    const closed = Promise.withResolvers<readonly [number, string]>();
    ws.on('close', (closeCode, reason) => closed.resolve([closeCode, reason.toString()]));
    const attacked = record(await rig.accepted());
    act(ws);
    expect(await attacked.untilClosed()).toMatchObject({
      code,
      message: matching(text),
    });
    expect(attacked.trace).toBe('c');
    const [closeCode] = await closed.promise;
    expect([1006, 1008, 1009]).toContain(closeCode);
    client.send(clientHeartbeat());
    await atScheduler.until(() => atScheduler.heard.length === 1);
    expect(atScheduler.closes).toEqual([]);
  });

  it('after good ones does not undo them', async () => {
    await using rig = await startRig();
    const ws = await rawOpen(`${rig.url}/farm/v1/client`, rig.tokens.client, CLIENT_HELLO);
    const attacked = record(await rig.accepted());
    ws.send(good);
    ws.send(Buffer.from('c1', 'hex'));
    ws.send(good);
    await attacked.untilClosed();
    expect(attacked.trace).toBe('mc');
  });
});
