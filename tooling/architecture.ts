import { isBuiltin } from 'node:module';
import { posix } from 'node:path';
import { Visitor } from 'rolldown/utils';
import { importsOf, violation } from './source-tree.ts';
import type { SourceFile, Violation } from './source-tree.ts';

/** What each package may import of the others; `dynamic` ones only by `import()`. */
const DEPENDENCIES: Readonly<
  Record<string, { readonly always: readonly string[]; readonly dynamic: readonly string[] }>
> = {
  protocol: { always: [], dynamic: [] },
  scheduler: { always: ['protocol'], dynamic: [] },
  worker: { always: ['protocol'], dynamic: [] },
  client: { always: ['protocol'], dynamic: ['cluster'] },
  cluster: { always: ['protocol', 'scheduler', 'worker', 'client'], dynamic: [] },
};

/**
 * Names a core does not use. The compiler refuses those of Node as well, since it does not know
 * them there; this list also holds those that belong to the language.
 */
const IMPURE_NAMES: ReadonlySet<string> = new Set(
  [
    'Date Intl performance setTimeout setInterval setImmediate queueMicrotask',
    'clearTimeout clearInterval clearImmediate',
    'Promise PromiseLike AsyncIterable AsyncIterator AsyncGenerator AsyncDisposable',
    'WeakRef FinalizationRegistry SharedArrayBuffer Atomics',
    'console process crypto globalThis eval',
  ]
    .join(' ')
    .split(' '),
);

/** Members whose result depends on the host's locale, so that a replay elsewhere differs. */
const LOCALE_MEMBERS: ReadonlySet<string> = new Set([
  'localeCompare',
  'toLocaleString',
  'toLocaleDateString',
  'toLocaleTimeString',
  'toLocaleLowerCase',
  'toLocaleUpperCase',
]);

/**
 * Finds what is not pure and synchronous in a file of a core: promises, timers, clocks, randomness,
 * logs, the host's locale, and imports from outside cores.
 */
export function checkCore(file: SourceFile): readonly Violation[] {
  const found: Violation[] = [];
  const report = (node: { readonly start: number }, message: string): void => {
    found.push(violation(file, node.start, message));
  };
  // Names of members and keys are not uses of a global: `event.process`, `{ console: 1 }`.
  const labels = new Set<number>();
  new Visitor({
    MemberExpression: (node) => {
      if (!node.computed) labels.add(node.property.start);
      if (node.property.type !== 'Identifier' || node.computed) return;
      const object = node.object.type === 'Identifier' ? node.object.name : '';
      const { name } = node.property;
      if (object === 'Math' && name === 'random') report(node, 'Math.random in a core');
      if (LOCALE_MEMBERS.has(name)) report(node.property, `${name} in a core`);
    },
    Property: (node) => void (node.computed || node.shorthand || labels.add(node.key.start)),
    PropertyDefinition: (node) => void (node.computed || labels.add(node.key.start)),
    MethodDefinition: (node) => void (node.computed || labels.add(node.key.start)),
    TSPropertySignature: (node) => void (node.computed || labels.add(node.key.start)),
    TSMethodSignature: (node) => void (node.computed || labels.add(node.key.start)),
    TSQualifiedName: (node) => void labels.add(node.right.start),
  }).visit(file.program);
  const checkFunction = (node: { readonly async: boolean; readonly start: number }): void => {
    if (node.async) report(node, 'async function in a core');
  };
  new Visitor({
    Identifier: (node) => {
      if (IMPURE_NAMES.has(node.name) && !labels.has(node.start)) {
        report(node, `${node.name} in a core`);
      }
    },
    FunctionDeclaration: checkFunction,
    FunctionExpression: checkFunction,
    ArrowFunctionExpression: checkFunction,
    AwaitExpression: (node) => report(node, 'await in a core'),
    ForOfStatement: (node) => void (node.await && report(node, 'for await in a core')),
    VariableDeclaration: (node) =>
      void (node.kind === 'await using' && report(node, 'await using in a core')),
    MetaProperty: (node) =>
      void (node.meta.name === 'import' && report(node, 'import.meta in a core')),
    ImportExpression: (node) => report(node, 'import() in a core'),
  }).visit(file.program);

  const core = file.path.slice(0, file.path.lastIndexOf('/core/') + '/core/'.length);
  for (const site of importsOf(file)) {
    if (site.specifier === '@farm/protocol/core' && !core.startsWith('packages/protocol/'))
      continue;
    if (site.specifier.startsWith('.') && resolveFrom(file, site.specifier).startsWith(core))
      continue;
    report(site, `a core imports '${site.specifier}'`);
  }
  return found;
}

/**
 * Finds imports of a package's file that go against the direction of dependencies, leave the
 * package by a relative path, name a builtin without `node:`, or name what its manifest does not.
 *
 * @param declared - Names of the dependencies in the package's manifest, and of the `@types/` ones
 * that only its own build needs.
 */
export function checkImports(
  file: SourceFile,
  declared: ReadonlySet<string>,
): readonly Violation[] {
  const found: Violation[] = [];
  const [, name = ''] = file.path.split('/');
  const home = `packages/${name}/src/`;
  const allowed = DEPENDENCIES[name];
  if (allowed === undefined) {
    return [violation(file, 0, `package ${name} has no place in the order of dependencies`)];
  }
  for (const { specifier, kind, start } of importsOf(file)) {
    const report = (message: string): void => {
      found.push(violation(file, start, `'${specifier}': ${message}`));
    };
    if (specifier.startsWith('.')) {
      const target = resolveFrom(file, specifier);
      if (!target.startsWith(home)) report('leaves the package by a relative path');
      continue;
    }
    if (specifier.startsWith('node:')) continue;
    if (isBuiltin(specifier)) {
      report(`is written node:${specifier}`);
      continue;
    }
    const [scope = '', second = ''] = specifier.split('/');
    const target = scope.startsWith('@') ? `${scope}/${second}` : scope;
    if (!declared.has(target) && !(kind === 'type' && declared.has(`@types/${target}`))) {
      report(`is not a dependency in packages/${name}/package.json`);
    }
    if (scope !== '@farm') continue;
    if (allowed.always.includes(second)) continue;
    if (kind === 'dynamic' && allowed.dynamic.includes(second)) continue;
    report(`${name} does not depend on ${second}`);
  }
  return found;
}

/**
 * Finds the files that no entry leads to. A file leads to what it imports, and to the files whose
 * relative path it has as a string, which is how threads and processes are started.
 *
 * @param entries - Paths of the files that something outside the tree starts from.
 */
export function findDeadFiles(
  files: readonly SourceFile[],
  entries: readonly string[],
): readonly Violation[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const reached = new Set<string>();
  const waiting = [...entries];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const file = byPath.get(path);
    if (file === undefined || reached.has(path)) continue;
    reached.add(path);
    for (const relative of relativePathsIn(file)) {
      const target = resolveFrom(file, relative);
      waiting.push(target, target.replace(/\.js$/, '.ts'), `${target}.ts`);
    }
  }
  return files
    .filter((file) => !reached.has(file.path))
    .map((file) => violation(file, 0, 'nothing leads to this file: import it or delete it'));
}

function relativePathsIn(file: SourceFile): readonly string[] {
  const paths: string[] = [];
  const add = (text: unknown): void => {
    if (typeof text === 'string' && /^\.{1,2}\/[\w./-]*\w/.test(text)) paths.push(text);
  };
  new Visitor({
    Literal: (node) => add(node.value),
    // `./thread${extname(import.meta.url)}`: the extension depends on what is running.
    TemplateElement: (node) => add(node.value.cooked?.replace(/\.$/, '')),
  }).visit(file.program);
  return paths;
}

/** Finds the exports of an index, followed to where they are declared, that have no docstring. */
export function checkDocs(index: SourceFile, files: readonly SourceFile[]): readonly Violation[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const found: Violation[] = [];
  const seen = new Set<string>();
  const visit = (file: SourceFile, wanted: ReadonlySet<string> | 'all'): void => {
    for (const { exported, start, documented, from } of exportsOf(file)) {
      if (wanted !== 'all' && exported !== '*' && !wanted.has(exported)) continue;
      const id = `${file.path}#${exported}#${from?.specifier ?? ''}`;
      if (seen.has(id)) continue;
      seen.add(id);
      if (from === undefined) {
        if (!documented) found.push(violation(file, start, `export ${exported} has no docstring`));
        continue;
      }
      // What another package exports is checked there.
      if (!from.specifier.startsWith('.')) continue;
      const target = byPath.get(resolveFrom(file, from.specifier));
      if (target === undefined) {
        found.push(violation(file, start, `'${from.specifier}' does not exist`));
      } else {
        visit(target, exported === '*' ? wanted : new Set([from.name]));
      }
    }
  };
  visit(index, 'all');
  return found;
}

interface ExportSite {
  readonly exported: string;
  readonly start: number;
  readonly documented: boolean;
  readonly from: { readonly specifier: string; readonly name: string } | undefined;
}

function exportsOf(file: SourceFile): readonly ExportSite[] {
  const sites: ExportSite[] = [];
  const locals = new Map<string, number>();
  const overloads = new Set<string>();
  for (const node of file.program.body) {
    if (node.type === 'ExportAllDeclaration') {
      const from = { specifier: node.source.value, name: '*' };
      sites.push({ exported: '*', start: node.start, documented: true, from });
      continue;
    }
    const declaration = node.type === 'ExportNamedDeclaration' ? node.declaration : node;
    for (const name of declaredNames(declaration)) {
      // Overloads share the docstring of the first.
      if (overloads.has(name)) continue;
      overloads.add(name);
      locals.set(name, node.start);
      if (node.type !== 'ExportNamedDeclaration') continue;
      const documented = hasDocstring(file, node.start);
      sites.push({ exported: name, start: node.start, documented, from: undefined });
    }
    if (node.type !== 'ExportNamedDeclaration') continue;
    for (const specifier of node.specifiers) {
      const exported = moduleName(specifier.exported);
      const name = moduleName(specifier.local);
      if (node.source !== null) {
        const from = { specifier: node.source.value, name };
        sites.push({ exported, start: specifier.start, documented: true, from });
      } else {
        const start = locals.get(name) ?? specifier.start;
        sites.push({ exported, start, documented: hasDocstring(file, start), from: undefined });
      }
    }
  }
  return sites;
}

type Node = SourceFile['program']['body'][number];

function declaredNames(node: Node | null): readonly string[] {
  switch (node?.type) {
    case 'VariableDeclaration':
      return node.declarations.flatMap(({ id }) => (id.type === 'Identifier' ? [id.name] : []));
    case 'FunctionDeclaration':
    case 'TSDeclareFunction':
    case 'ClassDeclaration':
      return node.id === null ? [] : [node.id.name];
    case 'TSInterfaceDeclaration':
    case 'TSTypeAliasDeclaration':
      return [node.id.name];
    default:
      return [];
  }
}

function moduleName(
  name: { readonly type: string } & ({ readonly name: string } | { readonly value: string }),
): string {
  return 'name' in name ? name.name : name.value;
}

function hasDocstring(file: SourceFile, start: number): boolean {
  const before = file.comments.findLast((comment) => comment.end <= start);
  if (before === undefined || before.type !== 'Block' || !before.value.startsWith('*'))
    return false;
  return file.text.slice(before.end, start).trim() === '' && /\w/.test(before.value);
}

/** Finds casts (`x as T`, not `as const`) with no `// SAFE:` reason on their line or just above. */
export function checkCasts(file: SourceFile): readonly Violation[] {
  const found: Violation[] = [];
  const lines = file.text.split('\n');
  new Visitor({
    TSAsExpression: (node) => {
      const type = node.typeAnnotation;
      const isConst =
        type.type === 'TSTypeReference' &&
        type.typeName.type === 'Identifier' &&
        type.typeName.name === 'const';
      if (isConst || isExplained(lines, lineAt(file, node.start), lineAt(file, node.end))) return;
      found.push(violation(file, node.start, 'a cast without a // SAFE: reason'));
    },
    TSNonNullExpression: (node) =>
      void found.push(violation(file, node.start, 'a non-null assertion')),
  }).visit(file.program);
  return found;
}

function lineAt(file: SourceFile, offset: number): number {
  return file.text.slice(0, offset).split('\n').length - 1;
}

function isExplained(lines: readonly string[], first: number, last: number): boolean {
  if (lines.slice(first, last + 1).some((line) => line.includes('// SAFE:'))) return true;
  // A reason may take several lines above the cast.
  let above = first - 1;
  while (/^\s*\/\//.test(lines[above] ?? '')) {
    if (lines[above]?.includes('// SAFE:') === true) return true;
    above -= 1;
  }
  return false;
}

function resolveFrom(file: SourceFile, relative: string): string {
  return posix.join(posix.dirname(file.path), relative);
}
