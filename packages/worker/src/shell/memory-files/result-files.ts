import { threadId } from 'node:worker_threads';

import { allocateInFile, type FileMemory, sealFile } from './file-memory.ts';
import { type FilePages, openFilePages } from './file-pages.ts';
import { MEMORY_FILE_BYTES_MIN } from './file-room.ts';
import { fileName } from './thread-files.ts';

/** Memory for results in a thread: large ones in files in memory, which other processes can map. */
export class ResultFiles {
  /** One for all: see `GivenUpMemory`. */
  static readonly #collected = new FinalizationRegistry<number>((file) => {
    openFilePages()?.close(file);
  });
  readonly #files = new WeakMap<ArrayBufferLike, Omit<FileMemory, 'bytes'>>();
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
    if (byteOffset === made.region.byteOffset) return sealFile(pages, made) ? made.file : undefined;
    pages.close(made.file);
    return undefined;
  }

  #allocateInFile(pages: FilePages, sizeBytes: number): Uint8Array<ArrayBuffer> | undefined {
    const made = allocateInFile(pages, fileName(threadId), sizeBytes);
    if (made === undefined) return undefined;
    const { file, region, bytes } = made;
    this.#files.set(bytes.buffer, { file, region });
    ResultFiles.#collected.register(bytes.buffer, file, bytes.buffer);
    return bytes;
  }
}
