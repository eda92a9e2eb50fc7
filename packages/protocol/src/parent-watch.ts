import { rmdirSync } from 'node:fs';

/** Set in the environment of a child that is to end with its parent. */
export const EXIT_WITH_STDIN = 'FARM_EXIT_WITH_STDIN';

/**
 * Set beside {@link EXIT_WITH_STDIN} by a parent that shares a directory with its children: where the
 * parent is gone, the last of them to end removes it.
 */
export const SHARED_DIRECTORY = 'FARM_SHARED_DIRECTORY';

/** A parent's last words are cut here. */
const WORDS_MAX = 200;

/**
 * Calls `onGone` when the parent process is gone, however it went: the parent holds the other end
 * of this process's standard input, and the kernel closes it. Does nothing unless the parent set
 * {@link EXIT_WITH_STDIN}. Its variables are taken out of the environment, so that children of this
 * process do not inherit them by accident.
 *
 * @param onGone - Gets what the parent wrote before it closed its end, which says why: one line,
 *   empty where the parent died.
 * @param onLine - Gets each line that the parent writes. Those it returns true for are not among
 *   the last words.
 */
export function watchParent(
  onGone: (lastWords: string) => void,
  onLine: (line: string) => boolean = () => false,
): void {
  if (process.env[EXIT_WITH_STDIN] !== '1') return;
  const shared = process.env[SHARED_DIRECTORY] ?? '';
  delete process.env[EXIT_WITH_STDIN];
  delete process.env[SHARED_DIRECTORY];
  let isGone = false;
  let words = '';
  const gone = (): void => {
    if (isGone) return;
    isGone = true;
    if (shared !== '') process.once('exit', () => removeIfEmpty(shared));
    onGone(words.replaceAll(/\s+/g, ' ').trim());
  };
  process.stdin.setEncoding('utf8').on('data', (text: string) => {
    const lines = (words + text).split(/(?<=\n)/);
    words = lines
      .filter((line) => !line.endsWith('\n') || !onLine(line.trim()))
      .join('')
      .slice(0, WORDS_MAX);
  });
  process.stdin.on('end', gone);
  process.stdin.on('close', gone);
  process.stdin.on('error', gone);
  process.stdin.resume();
  // Watching must not keep a process alive that has nothing else to do.
  if ('unref' in process.stdin && typeof process.stdin.unref === 'function') process.stdin.unref();
}

/** Others may have files in it, or have removed it. */
function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // The next one to end tries as well; what a user keeps in there stays.
  }
}
