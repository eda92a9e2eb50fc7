const SHOWN_MAX = 200;

/**
 * Shows text that came from outside (a flag, a file, an environment variable) inside a one-line
 * message: in double quotes, control characters escaped, long text cut.
 *
 * @example
 * quote('5XB'); // '"5XB"'
 */
export function quote(text: string): string {
  const shown = text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text;
  return escapeControl(JSON.stringify(shown));
}

/**
 * Makes text safe to print as one line of a terminal or a log: line ends and other control
 * characters become escapes, so that nobody can forge a second line or move the cursor.
 */
export function oneLine(text: string): string {
  return escapeControl(text.replaceAll('\r\n', '\\n').replaceAll('\n', '\\n'));
}

/** C0 and C1 controls, DEL, and the two Unicode line separators. */
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;

function escapeControl(text: string): string {
  return text.replace(CONTROL, (char) => {
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}
