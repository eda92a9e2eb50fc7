/** Set in the environment of a child that is to end with its parent. */
export const EXIT_WITH_STDIN = 'FARM_EXIT_WITH_STDIN';

/** A parent's last words are cut here. */
const WORDS_MAX = 200;

/**
 * Calls `onGone` when the parent process is gone, however it went: the parent holds the other end
 * of this process's standard input, and the kernel closes it. Does nothing unless the parent set
 * {@link EXIT_WITH_STDIN}. The variable is taken out of the environment, so that children of this
 * process do not inherit it by accident.
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
  delete process.env[EXIT_WITH_STDIN];
  let isGone = false;
  let words = '';
  const gone = (): void => {
    if (isGone) return;
    isGone = true;
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
