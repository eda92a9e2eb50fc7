/** How a value is reached from its container; decides how the step is written. */
export type StepKind =
  | 'property' // .name or ["any text"]
  | 'index' // [3]
  | 'mapped' // .get("key")
  | 'key' // .keys()[3]
  | 'value'; // .values()[3]

const HEAD_STEPS = 8;
const TAIL_STEPS = 2;
const STEP_TEXT_MAX = 48;
const IDENTIFIER = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u;

/**
 * The way from a value to something inside it, kept while the value is walked. One slot a level,
 * overwritten as the walk goes on, so that it costs next to nothing until an error needs it.
 */
export class ValuePath {
  readonly #kinds: StepKind[] = [];
  readonly #names: (string | number)[] = [];

  /** Records that the walk at `depth` looks at `name`. */
  set(depth: number, kind: StepKind, name: string | number): void {
    this.#kinds[depth] = kind;
    this.#names[depth] = name;
  }

  /** The first `depth` steps as text, e.g. `.options.list[3].get("k")`; long paths are elided. */
  text(depth: number): string {
    let text = '';
    for (let level = 0; level < depth; level++) {
      if (level === HEAD_STEPS && depth > HEAD_STEPS + TAIL_STEPS) {
        text += '…';
        level = depth - TAIL_STEPS;
      }
      text += this.#step(level);
    }
    return text;
  }

  #step(level: number): string {
    const name = this.#names[level] ?? '?';
    switch (this.#kinds[level]) {
      case 'property':
        return IDENTIFIER.test(String(name)) ? `.${shortened(String(name))}` : `[${quoted(name)}]`;
      case 'mapped':
        return `.get(${typeof name === 'number' ? name : quoted(name)})`;
      case 'key':
        return `.keys()[${name}]`;
      case 'value':
        return `.values()[${name}]`;
      default:
        return `[${name}]`;
    }
  }
}

function quoted(name: string | number): string {
  return JSON.stringify(shortened(String(name)));
}

function shortened(text: string): string {
  return text.length > STEP_TEXT_MAX ? `${text.slice(0, STEP_TEXT_MAX)}…` : text;
}
