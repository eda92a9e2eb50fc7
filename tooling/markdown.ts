import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

/** A document of the repository. */
export interface MarkdownFile {
  /** Relative to the root of the repository. */
  readonly path: string;
  readonly text: string;
}

/** A fenced block of code. */
export interface CodeBlock {
  /** Path of the document and number of the line the code begins on. */
  readonly place: string;
  readonly language: string;
  readonly code: string;
}

/** The fenced blocks of a document. */
export function codeBlocks({ path, text }: MarkdownFile): readonly CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let open: { readonly language: string; readonly line: number; lines: string[] } | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    const fence = /^```(\S*)/.exec(line);
    if (fence === null) {
      open?.lines.push(line);
    } else if (open === undefined) {
      open = { language: fence[1] ?? '', line: index + 2, lines: [] };
    } else {
      const { language, lines } = open;
      blocks.push({ place: `${path}:${open.line}`, language, code: `${lines.join('\n')}\n` });
      open = undefined;
    }
  }
  return blocks;
}

/** The document without its fenced blocks. */
export function proseOf(file: MarkdownFile): string {
  return file.text.replaceAll(/^```[\s\S]*?^```$/gm, '');
}

/** What stands in backticks at the beginning of the rows of the document's tables. */
export function rowNames(text: string): readonly string[] {
  return text.split('\n').flatMap((line) => {
    const cell = /^\| (`[^|]*?) \|/.exec(line)?.[1];
    return cell === undefined
      ? []
      : [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
  });
}

/** Relative links of a document that lead nowhere, and why. `readText` reads a file by its path. */
export function deadLinks(
  file: MarkdownFile,
  root: string,
  readText: (path: string) => string,
): readonly string[] {
  const prose = proseOf(file).replaceAll(/`[^`\n]*`/g, '');
  const targets = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '');
  return targets.flatMap((target) => {
    if (/^[a-z]+:/.test(target)) return [];
    const [path = '', anchor] = target.split('#', 2);
    const found = path === '' ? file.path : normalize(join(dirname(file.path), path));
    const at = `${file.path} links to ${target}`;
    if (!existsSync(join(root, found))) return [`${at}: there is no ${found}`];
    if (anchor === undefined) return [];
    const text = path === '' ? file.text : readText(found);
    return anchors(text).includes(anchor) ? [] : [`${at}: ${found} has no such heading`];
  });
}

/** Paths of the repository that a document names, in backticks or to run, and that are not there. */
export function missingPaths(file: MarkdownFile, root: string): readonly string[] {
  const named = [
    ...proseOf(file).matchAll(/`((?:packages|docs|examples|tooling|sim)\/[^`\s*]+)`/g),
    ...file.text.matchAll(/npm run node -- ((?:benchmarks|examples)\/[\w./-]+)/g),
  ];
  return named
    .map((match) => match[1] ?? '')
    .filter((path) => !existsSync(join(root, path)))
    .map((path) => `${file.path} names ${path}, which is not there`);
}

/** The anchors of a document's headings, as GitHub makes them. */
function anchors(text: string): readonly string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map((match) =>
    (match[1] ?? '')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s-]/gu, '')
      .trim()
      .replaceAll(/\s/g, '-'),
  );
}
