import { type Koffi, loadKoffi } from '../load-koffi.ts';

/** Pages of the files are of this size, so that each is mapped and read at once; and begin at multiples of it. */
export const FILE_PAGE_BYTES = 2_097_152;

/**
 * Files in memory (`memfd_create(2)`) whose pages lie in the memory of buffers, in place of those that
 * the buffers came with. A buffer stays what it is: it can be moved into a thread, and when nothing
 * refers to it any more, its memory goes back to the system as a whole, these pages with the others.
 */
export interface FilePages {
  /** Address of a buffer. */
  addressOf(buffer: ArrayBufferLike): number;
  /**
   * Whether the allocator got the memory of a buffer from the system for it alone: only then may other
   * pages take the place of its own, since what is freed is not used again.
   */
  isAlone(buffer: ArrayBufferLike): boolean;
  /** Makes a file of zeros. Undefined where the system refuses. */
  make(name: string, sizeBytes: number): number | undefined;
  /** Opens one by a path. Undefined where that cannot be done. */
  open(path: string): number | undefined;
  close(file: number): void;
  /**
   * Puts the pages of a file in the place of a region's: what is written there is written to the file,
   * or to copies that only this process has.
   */
  map(file: number, region: Uint8Array, writes: 'shared' | 'private'): boolean;
  /** Whether every address of a region has memory behind it, as it always has unless a `map` failed. */
  isWhole(region: Uint8Array): boolean;
  /** Gets the pages of a new file that is mapped to a region, 2 MiB at a time, or says that it cannot. */
  fill(region: Uint8Array): boolean;
  /** Has what is in the file appear at once, rather than page after page when it is first read. */
  touch(region: Uint8Array): void;
  /** From here on nobody changes the file, nor its size. */
  seal(file: number): boolean;
  /** Whether that was done. */
  isSealed(file: number): boolean;
}

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_FIXED = 0x10;
const MAP_NORESERVE = 0x4000;
const MFD_CLOEXEC_ALLOW_SEALING = 3;
const O_RDONLY_CLOEXEC = 0o2000000;
const MADV_NORMAL = 0;
const MADV_POPULATE_READ = 22;
const MADV_COLLAPSE = 25;
const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;
/** No further seal, no smaller file, no larger one, no writing. */
const SEALS = 0x1 | 0x2 | 0x4 | 0x10;
const EAGAIN = 11;
const EINVAL = 22;

/** glibc: a header before the bytes tells the size of a piece, and in this bit that it was mapped alone. */
const CHUNK_HEADER_BYTES = 16;
const CHUNK_FLAGS = 7n;
const CHUNK_IS_MAPPED = 2n;
const PAGE_BYTES = 4_096;

/** Numbers as above, and pages of 4 KiB or at least of less than 2 MiB. */
const ARCHITECTURES = new Set(['x64', 'arm64']);

let opened: FilePages | undefined;
let isTried = false;

/** Undefined where the system has no such thing, or koffi is not installed. */
export function openFilePages(): FilePages | undefined {
  if (!isTried) opened = open();
  isTried = true;
  return opened;
}

function open(): FilePages | undefined {
  const koffi = ARCHITECTURES.has(process.arch) ? loadKoffi() : undefined;
  try {
    return koffi && bind(koffi);
  } catch {
    // A C library without one of the functions.
    return undefined;
  }
}

type Call = (...args: readonly (number | string | bigint)[]) => number;

function bind(koffi: Koffi): FilePages {
  const library = koffi.load(null);
  const call = (name: string, result: string, ...types: readonly string[]): Call => {
    // SAFE: koffi makes functions of this shape of what is declared here.
    return library.func(name, result, types) as Call;
  };
  const memfdCreate = call('memfd_create', 'int', 'str', 'uint32_t');
  const ftruncate = call('ftruncate', 'int', 'int', 'int64_t');
  const openFile = call('open', 'int', 'str', 'int');
  const closeFile = call('close', 'int', 'int');
  const fcntl = call('fcntl', 'int', 'int', 'int', 'int');
  const madvise = call('madvise', 'int', 'uint64_t', 'uint64_t', 'int');
  const word = 'uint64_t';
  const mmap = call('mmap', 'int64_t', word, word, 'int', 'int', 'int', 'int64_t');

  /** Not with a kernel before 6.1, nor with one without huge pages. */
  let canFill = true;
  let hasFilled = false;
  const exactAddressOf = (buffer: ArrayBufferLike): bigint => koffi.address(new Uint8Array(buffer));
  const advise = (region: Uint8Array, advice: number): boolean =>
    madvise(koffi.address(region), region.byteLength, advice) === 0;
  const collapse = (region: Uint8Array): boolean => advise(region, MADV_COLLAPSE);
  return {
    addressOf: (buffer) => Number(exactAddressOf(buffer)),
    isAlone: (buffer) => {
      const address = exactAddressOf(buffer);
      if (Number(address % BigInt(PAGE_BYTES)) !== CHUNK_HEADER_BYTES) return false;
      // SAFE: koffi decodes this type so.
      const header = koffi.decode(address - 8n, word) as number | bigint;
      const chunkBytes = Number(BigInt(header) & ~CHUNK_FLAGS) - CHUNK_HEADER_BYTES;
      const spareBytes = chunkBytes - buffer.byteLength;
      const isMapped = (BigInt(header) & CHUNK_IS_MAPPED) !== 0n;
      return isMapped && spareBytes >= 0 && spareBytes < 2 * FILE_PAGE_BYTES;
    },
    make: (name, sizeBytes) => {
      if (!canFill) return undefined;
      const file = memfdCreate(name, MFD_CLOEXEC_ALLOW_SEALING);
      if (file < 0) return undefined;
      if (ftruncate(file, sizeBytes) === 0) return file;
      closeFile(file);
      return undefined;
    },
    open: (path) => {
      const file = openFile(path, O_RDONLY_CLOEXEC);
      return file < 0 ? undefined : file;
    },
    close: (file) => void closeFile(file),
    map: (file, region, writes) => {
      const address = koffi.address(region);
      const kind = writes === 'shared' ? MAP_SHARED : MAP_PRIVATE;
      const flags = kind | MAP_FIXED | MAP_NORESERVE;
      const at = mmap(address, region.byteLength, PROT_READ_WRITE, flags, file, 0);
      return BigInt(at) === address;
    },
    isWhole: (region) => advise(region, MADV_NORMAL),
    fill: (region) => {
      // Where there is nothing at all the kernel finds nothing to put together.
      for (let at = 0; at < region.byteLength; at += FILE_PAGE_BYTES) region[at] = 0;
      const isFilled = collapse(region) || (koffi.errno() === EAGAIN && collapse(region));
      if (isFilled) hasFilled = true;
      else if (!hasFilled && koffi.errno() === EINVAL) canFill = false;
      return isFilled;
    },
    touch: (region) => void advise(region, MADV_POPULATE_READ),
    seal: (file) => fcntl(file, F_ADD_SEALS, SEALS) === 0,
    isSealed: (file) => (fcntl(file, F_GET_SEALS, 0) & SEALS) === SEALS,
  };
}
