/** Holders and askers on this host for tests, and memory on which things go wrong. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { dialDataStream, parseAddress, silentLogger, type OpenDataStream } from '@farm/protocol';
import { onTestFinished } from 'vitest';

import { DataServer } from '../../../src/shell/data/data-server.ts';
import type { StreamReader } from '../../../src/shell/data/data-stream.ts';
import type {
  HostMemory,
  OpenHostMemory,
} from '../../../src/shell/data/host-memory/host-memory.ts';
import { InputFetcher } from '../../../src/shell/data/input-fetcher.ts';
import type { Store } from '../../../src/shell/data/store.ts';

const TOKEN = 'worker-token';
let holders = 0;

export async function aDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'farm-memory-'));
  await chmod(directory, 0o700);
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** A holder in this process, reached like one of another. */
export async function aHolder(
  store: Store,
  openHostMemory: OpenHostMemory | undefined,
): Promise<DataServer> {
  holders += 1;
  const server = await DataServer.listen({
    host: '127.0.0.1',
    ports: [0],
    contactHost: '127.0.0.1',
    token: TOKEN,
    workerName: `holder-${holders}`,
    version: '0.0.0',
    id: `holder-${holders}`,
    localDirectory: await aDirectory(),
    store: () => store,
    openHostMemory,
    logger: silentLogger,
  });
  onTestFinished(() => server.close());
  return server;
}

export function dialStream(address: string, reader: StreamReader): Promise<OpenDataStream> {
  return dialDataStream({
    address: parseAddress(address, { defaultPort: 1 }),
    token: TOKEN,
    timeoutMs: 5_000,
    isLocal: true,
    ...reader,
  });
}

/** A fetcher, and what it did. */
export interface Asker {
  readonly fetcher: InputFetcher;
  /** Bytes that came over sockets. */
  readonly socketBytes: () => number;
  /** Why it did not read what it could have. */
  readonly notRead: string[];
}

/** Nothing is relayed to it. */
export function anAsker(openHostMemory: OpenHostMemory | undefined): Asker {
  let socketBytes = 0;
  const notRead: string[] = [];
  const fetcher: InputFetcher = new InputFetcher({
    name: 'asker',
    dialPeer: () => Promise.reject(new Error('large values need none')),
    dialStream: (address, { onBytes, room }) =>
      dialStream(address, {
        ...(room === undefined ? {} : { room }),
        onBytes: (bytes) => {
          socketBytes += bytes.byteLength;
          onBytes(bytes);
        },
      }),
    openHostMemory,
    notRead: (why) => notRead.push(why),
    needsChecks: () => false,
    askRelay: ({ request }) => {
      const message = 'nothing is relayed';
      const failed = { code: 'ERR_LOST_DATA', message, origin: '', worker: '' } as const;
      setImmediate(() => fetcher.relayed.fail(request, { ...failed, error: null, name: null }));
    },
  });
  onTestFinished(() => fetcher.close());
  return { fetcher, socketBytes: () => socketBytes, notRead };
}

/** What goes wrong, or is looked at. */
export interface MemoryChanges {
  /** At most so many bytes are read at once. */
  readonly bytesMax?: number;
  /** Called before each read, with how many there were. */
  readonly before?: (reads: number) => Promise<void> | void;
  /** What a read of a value returns instead of reading. */
  readonly answer?: (reads: number) => number | undefined;
  /** What a read of a seal returns instead of reading, or undefined to read. */
  readonly sealAnswer?: () => number | undefined;
  /** Told who is let in. */
  readonly admitted?: (readers: ReadonlySet<number>) => void;
}

/** Memory on which things go wrong. */
export function changed(memory: HostMemory, changes: MemoryChanges): OpenHostMemory {
  const { bytesMax = Infinity, before, answer, sealAnswer, admitted } = changes;
  let reads = 0;
  const made: HostMemory = {
    addressOf: (bytes) => memory.addressOf(bytes),
    readNow: (pid, address, into) => sealAnswer?.() ?? memory.readNow(pid, address, into),
    read: async (pid, address, into) => {
      reads += 1;
      const read = reads;
      await before?.(read);
      return answer?.(read) ?? memory.read(pid, address, into.subarray(0, bytesMax));
    },
    admit: (readers) => {
      admitted?.(readers);
      memory.admit(readers);
    },
  };
  return () => made;
}

/** The memory of this process only, without any system: what was asked for once can be read there. */
export function ownMemory(): HostMemory {
  const known: { readonly address: number; readonly bytes: Uint8Array }[] = [];
  let next = 4_096;
  const readNow: HostMemory['readNow'] = (pid, address, into) => {
    const found = known.find(
      (one) => address >= one.address && address < one.address + one.bytes.byteLength,
    );
    if (pid !== process.pid || found === undefined) return -14;
    const from = address - found.address;
    const part = found.bytes.subarray(from, from + into.byteLength);
    into.set(part);
    return part.byteLength;
  };
  return {
    addressOf: (bytes) => {
      const address = next;
      known.push({ address, bytes });
      next += bytes.byteLength + 4_096;
      return address;
    },
    readNow,
    read: async (pid, address, into) => {
      await new Promise((resolve) => setImmediate(resolve));
      return readNow(pid, address, into);
    },
    admit: () => {},
  };
}
