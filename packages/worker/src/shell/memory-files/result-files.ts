import { threadId } from 'node:worker_threads';

import { type FilePages, openFilePages } from './file-pages.ts';
import { fileBytes, fileRegion, MEMORY_FILE_BYTES_MIN, roomBytes } from './file-room.ts';
import { fileName } from './thread-files.ts';

/** Memory of a result that has a file behind it. */
interface ResultFile {
  readonly file: number;
  readonly region: Uint8Array;
}

/** Memory for results in a thread: large ones in files in memory, which other processes can map. */
export class ResultFiles {
  /** One for all: see `GivenUpMemory`. */
  static readonly #collected = new FinalizationRegistry<number>((file) => {
    openFilePages()?.close(file);
  });
  readonly #files = new WeakMap<ArrayBufferLike, ResultFile>();
  readonly #fileBytesMax: number;

  /**
   * @param fileBytesMax - Larger memory is plain: a file takes all of its memory at once, plain memory what
   * is written to. With 0 all memory is plain.
   */
  constructor(fileBytesMax: number) {
    this.#fileBytesMax = fileBytesMax;
  }

  /**
   * Gets zeroed memory.
   *
   * @throws RangeError where there is none.
   */
  allocate(sizeBytes: number): Uint8Array<ArrayBuffer> {
    const isLarge = sizeBytes >= MEMORY_FILE_BYTES_MIN && sizeBytes <= this.#fileBytesMax;
    const pages = isLarge ? openFilePages() : undefined;
    const inFile = pages && this.#allocateInFile(pages, sizeBytes);
    return inFile ?? new Uint8Array(new ArrayBuffer(sizeBytes));
  }

  /**
   * The file that has these bytes, from its beginning: they do not change any more, and what is written to
   * their memory from here on is this process's own. Whoever calls closes the file. Undefined where there
   * is none.
   *
   * @throws RangeError where the system has no memory left for this; the bytes are not to be touched then.
   */
  handOver({ buffer, byteOffset }: Uint8Array): number | undefined {
    const made = this.#files.get(buffer);
    const pages = made && openFilePages();
    if (pages === undefined || made === undefined) return undefined;
    this.#files.delete(buffer);
    ResultFiles.#collected.unregister(buffer);
    const { file, region } = made;
    const isOwn = pages.map(file, region, 'private');
    if (!isOwn && !pages.isWhole(region)) {
      pages.close(file);
      throw new RangeError('the system has no memory to take over a result with');
    }
    if (isOwn && byteOffset === region.byteOffset && pages.seal(file)) {
      pages.touch(region);
      return file;
    }
    pages.close(file);
    return undefined;
  }

  #allocateInFile(pages: FilePages, sizeBytes: number): Uint8Array<ArrayBuffer> | undefined {
    const file = pages.make(fileName(threadId), fileBytes(sizeBytes));
    if (file === undefined) return undefined;
    const buffer = new ArrayBuffer(roomBytes(sizeBytes));
    const region = fileRegion(pages, buffer, sizeBytes);
    if (region === undefined || !pages.map(file, region, 'shared') || !pages.fill(region)) {
      pages.close(file);
      return undefined;
    }
    this.#files.set(buffer, { file, region });
    ResultFiles.#collected.register(buffer, file, buffer);
    return new Uint8Array(buffer, region.byteOffset, sizeBytes);
  }
}
