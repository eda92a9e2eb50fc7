/** A line of a stack that names a place in code. */
const FRAME = /^ {4}at /;
/** One of Node's own. */
const NODE_FRAME = /^ {4}at .*\(?node:/;

/**
 * A stack without the frames in which `hidden` stands, and without those of Node that then end it:
 * they called what was hidden. The same text where there are none.
 */
export function withoutFrames(stack: string, hidden: string | undefined): string {
  if (hidden === undefined || !stack.includes(hidden)) return stack;
  const lines = stack.split('\n').filter((line) => !FRAME.test(line) || !line.includes(hidden));
  while (NODE_FRAME.test(lines.at(-1) ?? '')) lines.pop();
  return lines.join('\n');
}

/** The frames of a stack, each a line with the line break before it; empty for none. */
export function framesOf(stack: string): string {
  const start = stack.search(/\n {4}at /);
  return start < 0 ? '' : stack.slice(start);
}
