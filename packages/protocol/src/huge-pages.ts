/** What the memory allocator of the C library on Linux is told by. */
const TUNABLES = 'GLIBC_TUNABLES';
const HUGE_PAGES = 'glibc.malloc.hugetlb';
/** What {@link TUNABLES} was before; for `keepHugePagesToSelf`. */
const TUNABLES_BEFORE = 'FARM_TUNABLES_BEFORE';

/**
 * The environment for a process that works with large arrays: its memory comes in pages of 2 MiB
 * where the kernel offers them on request, as NumPy's does. To touch new memory in pages of 4 KiB
 * takes several times as long as to copy the array.
 *
 * The variable is read when a process starts, by glibc 2.35 and newer; others pass over it. Where the
 * user has set it for huge pages, either way, that holds.
 */
export function withHugePages(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const before = env[TUNABLES] ?? '';
  if (process.platform !== 'linux' || before.includes(HUGE_PAGES)) return env;
  const ours = `${HUGE_PAGES}=1`;
  return {
    ...env,
    [TUNABLES]: before === '' ? ours : `${before}:${ours}`,
    [TUNABLES_BEFORE]: before,
  };
}

/** Puts the environment back in a process that was started so: what it starts is as it was. */
export function keepHugePagesToSelf(env: NodeJS.ProcessEnv = process.env): void {
  const before = env[TUNABLES_BEFORE];
  if (before === undefined) return;
  delete env[TUNABLES_BEFORE];
  if (before === '') delete env[TUNABLES];
  else env[TUNABLES] = before;
}
