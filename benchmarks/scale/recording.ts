/**
 * What a core was told, in a file: messages as they travel, framed as they arrived. Record after
 * record, each a kind, a length and that many bytes.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';

import { decodeBatch, encodeBatch } from '@farm/protocol';
import type { ClientMessage, Message, WorkerMessage } from '@farm/protocol/core';
import type { SchedulerEvent } from '@farm/scheduler/core';

/** Kinds of records. */
const CONNECTED = 1;
const SAID = 2;
const HANDLED = 3;
const MARK = 4;

const HEAD_BYTES = 5;
/** Of what was said: who, and when. */
const SAID_HEAD_BYTES = 12;
const CHUNK_BYTES = 1 << 22;

/** A moment in a recording. */
export type Mark = 'wave-begins' | 'submitted' | 'wave-ends';

const MARKS: readonly Mark[] = ['wave-begins', 'submitted', 'wave-ends'];

/** Writes a recording. */
export class RecordingWriter {
  readonly #file: number;
  #chunk = Buffer.alloc(CHUNK_BYTES);
  #end = 0;
  readonly #peers = new Map<string, number>();

  constructor(path: string) {
    this.#file = openSync(path, 'w');
  }

  /** One `handle` of the core: its events, and how many instructions came of them. */
  handled(events: readonly SchedulerEvent[], instructions: number): void {
    for (let at = 0; at < events.length;) {
      const event = events[at];
      at += 1;
      if (event?.kind === 'client-connected' || event?.kind === 'worker-connected') {
        const peer = event.kind === 'client-connected' ? event.client : event.worker;
        this.#peers.set(peer, this.#peers.size);
        this.#write(CONNECTED, Buffer.from(JSON.stringify(event)));
        continue;
      }
      if (event?.kind !== 'client-said' && event?.kind !== 'worker-said') {
        throw new Error(`${event?.kind ?? 'nothing'} is not recorded`);
      }
      // What a peer says at one time arrives as one frame.
      const messages: Message[] = [event.message];
      for (let next = events[at]; isSaidWith(event, next); next = events[at]) {
        messages.push(next.message);
        at += 1;
      }
      const head = Buffer.alloc(SAID_HEAD_BYTES);
      head.writeUInt32LE(this.#peers.get(speakerOf(event)) ?? 0, 0);
      head.writeDoubleLE(event.nowMs, 4);
      this.#write(SAID, Buffer.concat([head, encodeBatch(messages)]));
    }
    const count = Buffer.alloc(4);
    count.writeUInt32LE(instructions);
    this.#write(HANDLED, count);
  }

  /** Notes a moment. */
  mark(mark: Mark): void {
    this.#write(MARK, Buffer.from([MARKS.indexOf(mark)]));
  }

  close(): void {
    this.#flush();
    closeSync(this.#file);
  }

  #write(kind: number, bytes: Uint8Array): void {
    const size = HEAD_BYTES + bytes.byteLength;
    if (this.#end + size > this.#chunk.byteLength) this.#flush();
    if (size > this.#chunk.byteLength) this.#chunk = Buffer.alloc(size);
    this.#chunk.writeUInt8(kind, this.#end);
    this.#chunk.writeUInt32LE(bytes.byteLength, this.#end + 1);
    this.#chunk.set(bytes, this.#end + HEAD_BYTES);
    this.#end += size;
  }

  #flush(): void {
    writeSync(this.#file, this.#chunk, 0, this.#end);
    this.#end = 0;
  }
}

/** Who plays a recording. */
export interface Player {
  handle(events: readonly SchedulerEvent[], instructions: number): void;
  mark(mark: Mark): void;
}

/** Plays a recording from its beginning to its end. */
export function playRecording(path: string, player: Player): void {
  const file = openSync(path, 'r');
  const peers: { readonly name: string; readonly isClient: boolean }[] = [];
  let events: SchedulerEvent[] = [];
  let chunk = Buffer.alloc(0);
  let at = 0;
  for (;;) {
    let size = chunk.byteLength - at < HEAD_BYTES ? HEAD_BYTES : recordBytes(chunk, at);
    if (at + size > chunk.byteLength) {
      chunk = readMore(file, chunk.subarray(at));
      at = 0;
      if (chunk.byteLength < HEAD_BYTES) break;
      size = recordBytes(chunk, 0);
      if (size > chunk.byteLength) throw new Error(`${path} is cut off`);
    }
    const record = chunk.subarray(at + HEAD_BYTES, at + size);
    const kind = chunk.readUInt8(at);
    at += size;
    if (kind === CONNECTED) {
      // SAFE: what `handled` wrote.
      const event = JSON.parse(record.toString()) as SchedulerEvent;
      const isClient = event.kind === 'client-connected';
      const name = event.kind === 'worker-connected' ? event.worker : speakerOf(event);
      peers.push({ name, isClient });
      events.push(event);
    } else if (kind === SAID) {
      const nowMs = record.readDoubleLE(4);
      const peer = peers[record.readUInt32LE(0)];
      if (peer === undefined) throw new Error(`${path} names nobody`);
      const { name, isClient } = peer;
      for (const message of decodeBatch(record.subarray(SAID_HEAD_BYTES))) {
        events.push(
          isClient
            ? // SAFE: what a client said was recorded.
              { kind: 'client-said', nowMs, client: name, message: message as ClientMessage }
            : // SAFE: what a worker said was recorded.
              { kind: 'worker-said', nowMs, worker: name, message: message as WorkerMessage },
        );
      }
    } else if (kind === HANDLED) {
      const due = events;
      events = [];
      player.handle(due, record.readUInt32LE(0));
    } else {
      player.mark(MARKS[record.readUInt8(0)] ?? 'wave-ends');
    }
  }
  closeSync(file);
}

type Said = Extract<SchedulerEvent, { kind: 'client-said' | 'worker-said' }>;

function isSaidWith(event: Said, next: SchedulerEvent | undefined): next is Said {
  return (
    next !== undefined &&
    (next.kind === 'client-said' || next.kind === 'worker-said') &&
    speakerOf(next) === speakerOf(event) &&
    next.nowMs === event.nowMs
  );
}

function speakerOf(event: SchedulerEvent): string {
  if ('client' in event) return event.client;
  return 'worker' in event ? event.worker : '';
}

function recordBytes(chunk: Buffer, at: number): number {
  return HEAD_BYTES + chunk.readUInt32LE(at + 1);
}

/** What is left of a chunk, and what follows: a whole record at least, where the file has one. */
function readMore(file: number, left: Buffer): Buffer<ArrayBuffer> {
  let wanted = CHUNK_BYTES;
  let chunk = Buffer.concat([left]);
  for (;;) {
    const more = Buffer.allocUnsafeSlow(wanted);
    const got = readSync(file, more, 0, wanted, null);
    chunk = Buffer.concat([chunk, more.subarray(0, got)]);
    const missing = chunk.byteLength < HEAD_BYTES ? 0 : recordBytes(chunk, 0) - chunk.byteLength;
    if (got === 0 || missing <= 0) return chunk;
    wanted = missing;
  }
}
