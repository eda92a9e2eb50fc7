/** The memory of processes on this host, as far as the kernel lets this one at it. */
export interface HostMemory {
  /**
   * Where bytes of this process lie. That holds for as long as something refers to them and they are
   * not moved into a thread. Undefined where it is no number that others could be told.
   */
  addressOf(bytes: Uint8Array): number | undefined;
  /**
   * Fills `into` from the memory of a process, beside what else goes on here. `into` may be given up
   * meanwhile, but not moved.
   *
   * @returns How many bytes: fewer where what is to be read ends before. Where the kernel refuses, the
   * negative of its error number.
   */
  read(pid: number, address: number, into: Uint8Array): Promise<number>;
  /** The same at once: for a few bytes. */
  readNow(pid: number, address: number, into: Uint8Array): number;
  /** Who may read the memory of this process, besides those that may in any case. */
  admit(readers: ReadonlySet<number>): void;
}

/** Opens it when it is first needed. Undefined where there is no such thing, or it is not wanted. */
export type OpenHostMemory = () => HostMemory | undefined;
