import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSync, Visitor } from 'rolldown/utils';
import type { ParseResult } from 'rolldown/utils';

/** One source file, parsed. */
export interface SourceFile {
  /** Relative to the root of the repository, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly program: ParseResult['program'];
  readonly comments: ParseResult['comments'];
}

/** One import of a file, in whatever form it is written. */
export interface ImportSite {
  /** As written: `./key.ts`, `@farm/protocol`, `node:fs`. */
  readonly specifier: string;
  readonly kind: 'static' | 'dynamic' | 'type';
  /** Offset in the text. */
  readonly start: number;
}

/** One place where a file breaks a rule of the house. */
export interface Violation {
  /** `path:line`. */
  readonly where: string;
  readonly message: string;
}

/**
 * Parses TypeScript.
 *
 * @throws SyntaxError when the text does not parse.
 */
export function parseSource(path: string, text: string): SourceFile {
  const { program, comments, errors } = parseSync(path, text, { lang: 'ts', sourceType: 'module' });
  const [error] = errors;
  if (error !== undefined) throw new SyntaxError(`${path}: ${error.message}`);
  return { path, text, program, comments };
}

/** The `.ts` files below a folder, in a fixed order; none where the folder does not exist. */
export function readSources(root: string, folder: string): readonly SourceFile[] {
  return listFiles(root, folder)
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'))
    .map((path) => parseSource(path, readFileSync(join(root, path), 'utf8')));
}

function listFiles(root: string, folder: string): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .map((path) => path.replaceAll('\\', '/'))
    .toSorted();
}

/** Every import of a file: statements, re-exports, `import()` calls and `import()` types. */
export function importsOf(file: SourceFile): readonly ImportSite[] {
  const sites: ImportSite[] = [];
  const add = (
    source: { readonly value: unknown; readonly start: number } | null,
    kind: ImportSite['kind'],
  ): void => {
    if (source !== null && typeof source.value === 'string') {
      sites.push({ specifier: source.value, kind, start: source.start });
    }
  };
  new Visitor({
    ImportDeclaration: (node) => add(node.source, node.importKind === 'type' ? 'type' : 'static'),
    ExportNamedDeclaration: (node) =>
      add(node.source, node.exportKind === 'type' ? 'type' : 'static'),
    ExportAllDeclaration: (node) =>
      add(node.source, node.exportKind === 'type' ? 'type' : 'static'),
    ImportExpression: (node) => {
      if (node.source.type === 'Literal') add(node.source, 'dynamic');
    },
    TSImportType: (node) => add(node.source, 'type'),
  }).visit(file.program);
  return sites;
}

/** A violation at an offset of a file. */
export function violation(file: SourceFile, start: number, message: string): Violation {
  const line = file.text.slice(0, start).split('\n').length;
  return { where: `${file.path}:${line}`, message };
}
