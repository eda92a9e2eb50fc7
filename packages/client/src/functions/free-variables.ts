import { type Node, type Program, parse } from 'acorn';
import { type Reference, analyze } from 'eslint-scope';
import type * as ESTree from 'estree';

import { workerGlobals } from './worker-globals.ts';

/** What a function's source text says about whether it can travel alone. */
export interface FunctionAnalysis {
  /** An expression that evaluates to the function. */
  readonly expression: string;
  /** Names it uses that neither it nor a worker defines, in order of first use. */
  readonly freeVariables: readonly string[];
  /** Whether it refers to itself by its name where only its surroundings define that name. */
  readonly usesOwnName: boolean;
  /** What it uses of its surroundings besides names, for example `this` or `import.meta`. */
  readonly bindings: readonly string[];
  /** What kind of function it is. */
  readonly kind: 'function' | 'generator' | 'class' | 'accessor';
}

/** The source is not one that the parser knows. */
export interface Unparsable {
  readonly problem: string;
}

type Wrapper = readonly [before: string, after: string];

const EXPRESSION: Wrapper = ['(', '\n)'];
const METHOD: Wrapper = ['({', '\n})'];

/**
 * Finds what a function needs from where it was written, from its source text alone.
 *
 * Scopes come from eslint-scope: a reference that no scope of the text resolves is free. Methods
 * (`{ f(x) { … } }.f`) are no expressions; they are looked at inside an object literal.
 *
 * @param source - What `Function.prototype.toString` gave.
 * @param ownName - The function's `name`: using it is recursion, not a free variable.
 */
export function analyzeFunction(source: string, ownName: string): FunctionAnalysis | Unparsable {
  const asExpression = parseWrapped(source, EXPRESSION);
  const parsed = 'problem' in asExpression ? parseWrapped(source, METHOD) : asExpression;
  // The first message is the helpful one: a method is the rare case.
  if ('problem' in parsed) return 'problem' in asExpression ? asExpression : parsed;
  const { program, isModule, wrapper } = parsed;
  const code = findFunction(program, wrapper);
  if (code === undefined) return { problem: 'it is no function' };

  const free = freeReferences(program, isModule).filter((name) => !workerGlobals().has(name));
  const isRecursive = free.includes(ownName) && wrapper === EXPRESSION;
  return {
    expression: toExpression(source, wrapper, isRecursive ? ownName : undefined),
    freeVariables: isRecursive ? free.filter((name) => name !== ownName) : free,
    usesOwnName: isRecursive,
    bindings: surroundingBindings(code.node),
    kind: code.kind,
  };
}

function toExpression(source: string, wrapper: Wrapper, ownName: string | undefined): string {
  if (wrapper === METHOD) {
    return `((methods) => methods[Reflect.ownKeys(methods)[0]])({${source}\n})`;
  }
  if (ownName === undefined) return source;
  return `(() => { const ${ownName} = ${source}\n; return ${ownName}; })()`;
}

interface Parsed {
  readonly program: Program;
  readonly isModule: boolean;
  readonly wrapper: Wrapper;
}

function parseWrapped(source: string, wrapper: Wrapper): Parsed | Unparsable {
  const text = `${wrapper[0]}${source}${wrapper[1]}`;
  let problem = '';
  // Modules first: almost all code is, and only there `import.meta` is an expression at all.
  for (const sourceType of ['module', 'script'] as const) {
    try {
      const program = parse(text, { ecmaVersion: 'latest', sourceType, ranges: true });
      return { program, isModule: sourceType === 'module', wrapper };
    } catch (error) {
      if (problem === '') problem = error instanceof Error ? error.message : String(error);
    }
  }
  return { problem };
}

interface FoundFunction {
  readonly node: Node;
  readonly kind: FunctionAnalysis['kind'];
}

function findFunction(program: Program, wrapper: Wrapper): FoundFunction | undefined {
  const [statement, ...rest] = program.body;
  if (statement?.type !== 'ExpressionStatement' || rest.length > 0) return undefined;
  const { expression } = statement;
  if (wrapper === EXPRESSION) {
    if (expression.type === 'ClassExpression') return { node: expression, kind: 'class' };
    if (expression.type === 'ArrowFunctionExpression') {
      return { node: expression, kind: 'function' };
    }
    if (expression.type !== 'FunctionExpression') return undefined;
    return { node: expression, kind: expression.generator ? 'generator' : 'function' };
  }
  if (expression.type !== 'ObjectExpression') return undefined;
  const [property, ...others] = expression.properties;
  if (property?.type !== 'Property' || others.length > 0) return undefined;
  if (property.value.type !== 'FunctionExpression') return undefined;
  const node = property.value;
  if (property.kind !== 'init') return { node, kind: 'accessor' };
  return { node, kind: node.generator ? 'generator' : 'function' };
}

function freeReferences(program: Program, isModule: boolean): readonly string[] {
  // SAFE: acorn's tree is an ESTree; the two packages only name its types differently.
  const tree = program as unknown as ESTree.Program;
  const scopes = analyze(tree, {
    ecmaVersion: 2024,
    sourceType: isModule ? 'module' : 'script',
    // Node types newer than eslint-scope are walked by their properties.
    fallback: 'iteration',
  });
  const probed = typeofOperands(program);
  const names = (scopes.globalScope?.through ?? [])
    .filter((reference: Reference) => !probed.has(startOf(reference.identifier)))
    .map((reference: Reference) => reference.identifier.name)
    .map(String);
  return [...new Set(names)];
}

/** Where names stand that are only asked about (`typeof window`), which never fails. */
function typeofOperands(program: Program): ReadonlySet<number> {
  const starts = new Set<number>();
  walk(program, (node) => {
    if (node.type === 'UnaryExpression' && field(node, 'operator') === 'typeof') {
      const operand = field(node, 'argument');
      if (isNode(operand) && operand.type === 'Identifier') starts.add(operand.start);
    }
    return true;
  });
  return starts;
}

/** Uses of `this`, `super`, `new.target` and `import.meta` that belong to the surroundings. */
function surroundingBindings(root: Node): readonly string[] {
  const found = new Set<string>();
  const visit = (node: Node, isOwnFunction: boolean): void => {
    walk(node, (inner) => {
      if (inner !== node && hasOwnThis(inner)) {
        visit(inner, true);
        return false;
      }
      if (isMeta(inner, 'import')) found.add('import.meta');
      // A function of its own has these; the function itself has them from its caller.
      if (isOwnFunction) return true;
      if (inner.type === 'ThisExpression') found.add('this');
      if (inner.type === 'Super') found.add('super');
      if (isMeta(inner, 'new')) found.add('new.target');
      return true;
    });
  };
  visit(root, false);
  return [...found];
}

function hasOwnThis(node: Node): boolean {
  return (
    node.type === 'FunctionExpression' ||
    node.type === 'FunctionDeclaration' ||
    node.type === 'PropertyDefinition' ||
    node.type === 'StaticBlock'
  );
}

function isMeta(node: Node, name: string): boolean {
  if (node.type !== 'MetaProperty') return false;
  const meta = field(node, 'meta');
  return isNode(meta) && field(meta, 'name') === name;
}

/** Visits a tree, parents first; `visit` says whether to go into a node. */
function walk(node: Node, visit: (node: Node) => boolean): void {
  if (!visit(node)) return;
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) {
      if (isNode(child)) walk(child, visit);
    }
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && 'start' in value;
}

function field(node: Node, name: string): unknown {
  return new Map<string, unknown>(Object.entries(node)).get(name);
}

function startOf(node: object): number {
  return isNode(node) ? node.start : -1;
}
