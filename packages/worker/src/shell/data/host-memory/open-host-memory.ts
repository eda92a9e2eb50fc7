import { type Koffi, loadKoffi } from '../../load-koffi.ts';
import type { HostMemory } from './host-memory.ts';

type Parts = readonly { readonly start: bigint; readonly length: number }[];
type ReadArguments = [number, Parts, number, Parts, number, number];

/** `process_vm_readv(2)`: `async` runs it in a thread of libuv's pool. */
interface ReadMemory {
  (...args: ReadArguments): number;
  readonly async: (...args: [...ReadArguments, (error: unknown, count: number) => void]) => void;
}

type ControlProcess = (option: number, argument: bigint, ...rest: readonly number[]) => number;

/** Of `prctl(2)`: who may attach to this process, where the security module Yama restricts it. */
const PR_SET_PTRACER = 0x59616d61;
const ANYBODY = 0xffff_ffff_ffff_ffffn;
const NOBODY = 0n;

let opened: HostMemory | undefined;
let isTried = false;

/**
 * The memory of other processes by `process_vm_readv(2)`, which is called through koffi. Undefined
 * where the system is not Linux, or of no more than 32 bits, or koffi is not installed or does not load.
 */
export function openHostMemory(): HostMemory | undefined {
  if (!isTried) opened = open();
  isTried = true;
  return opened;
}

function open(): HostMemory | undefined {
  const koffi = IS_64_BIT.has(process.arch) ? loadKoffi() : undefined;
  try {
    return koffi && bind(koffi);
  } catch {
    // A C library without one of the functions: values come over sockets.
    return undefined;
  }
}

const IS_64_BIT = new Set(['x64', 'arm64', 'ppc64', 'riscv64', 'loong64']);

function bind(koffi: Koffi): HostMemory {
  const parts = koffi.pointer(koffi.struct({ start: 'uint64_t', length: 'uint64_t' }));
  // The C library that this process is linked with, whichever that is.
  const library = koffi.load(null);
  const readArguments = ['int', parts, 'uint64_t', parts, 'uint64_t', 'uint64_t'];
  // SAFE: koffi makes functions of this shape of what is declared here.
  const readMemory = library.func('process_vm_readv', 'int64_t', readArguments) as ReadMemory;
  const prctlArguments = ['int', 'uint64_t', 'uint64_t', 'uint64_t', 'uint64_t'];
  // SAFE: as above.
  const prctl = library.func('prctl', 'int', prctlArguments) as ControlProcess;

  const argumentsOf = (pid: number, address: number, into: Uint8Array): ReadArguments => {
    const length = into.byteLength;
    const here = [{ start: koffi.address(into), length }];
    return [pid, here, 1, [{ start: BigInt(address), length }], 1, 0];
  };
  const readNow = (pid: number, address: number, into: Uint8Array): number => {
    const count = readMemory(...argumentsOf(pid, address, into));
    return count < 0 ? -koffi.errno() : count;
  };
  return {
    addressOf: (bytes) => {
      const address = Number(koffi.address(bytes));
      return Number.isSafeInteger(address) ? address : undefined;
    },
    readNow,
    read: async (pid, address, into) => {
      const count = await new Promise<number>((resolve, reject) => {
        readMemory.async(...argumentsOf(pid, address, into), (error, read) => {
          // The kernel knows an address only: until here something has to refer to the memory.
          if (into.byteLength > 0 && error === null) resolve(read);
          else reject(new Error('a thread could not read', { cause: error }));
        });
      });
      // The error number is the thread's: asked again for one byte, the kernel tells it here.
      return count < 0 ? Math.min(0, readNow(pid, address, into.subarray(0, 1))) : count;
    },
    admit: (readers) => {
      const [one] = readers;
      const who = one === undefined ? NOBODY : readers.size === 1 ? BigInt(one) : ANYBODY;
      // Without Yama there is no such option, and no need for it.
      prctl(PR_SET_PTRACER, who, 0, 0, 0);
    },
  };
}
