import { expect, expectTypeOf, test } from 'vitest';

import { defineProgram, parseInteger } from '../../src/command-line/index.ts';
import { refusal } from '../refusal.ts';

const program = defineProgram({
  name: 'farm-example',
  summary: 'Has options that may be repeated.',
  version: '1.2.3',
  envPrefix: 'FARM_EXAMPLE',
  options: {
    preload: {
      value: 'MODULE',
      description: 'may be repeated',
      parse: (text) => text,
      repeatable: true,
    },
    level: {
      value: 'N',
      description: 'may be repeated',
      parse: (text): number => parseInteger(text),
      repeatable: true,
    },
    port: { value: 'PORT', description: 'may not', parse: (text) => text },
  },
});

test('an option that may be repeated is a list, in the order given', () => {
  const { options, source } = program.parse(['--preload', 'b', '--level=2', '--preload=a'], {});
  expect(options).toEqual({ preload: ['b', 'a'], level: [2], port: undefined });
  expectTypeOf(options.preload).toEqualTypeOf<readonly string[]>();
  expectTypeOf(options.level).toEqualTypeOf<readonly number[]>();
  expect(source('preload')).toBe('command line');
});

test('without it the list is empty', () => {
  const { options, source } = program.parse([], { FARM_EXAMPLE_PRELOAD: ' ' });
  expect(options.preload).toEqual([]);
  expect(source('preload')).toBe('default');
});

test('its variable separates several by commas, and is overruled by the command line', () => {
  const env = { FARM_EXAMPLE_PRELOAD: './a.ts, ./b.ts,', FARM_EXAMPLE_LEVEL: '1,2' };
  expect(program.parse([], env).options).toMatchObject({
    preload: ['./a.ts', './b.ts'],
    level: [1, 2],
  });
  expect(program.parse(['--preload', 'c,d'], env).options.preload).toEqual(['c,d']);
});

test('each of its values is checked, and other options are still refused when repeated', () => {
  const wrong = (argv: readonly string[], env = {}): string =>
    refusal(() => program.parse(argv, env)).message;
  expect(wrong(['--level', '1', '--level', 'x'])).toMatch(/^--level: /);
  expect(wrong([], { FARM_EXAMPLE_LEVEL: '1,x' })).toMatch(/^FARM_EXAMPLE_LEVEL \(environment\): /);
  expect(wrong(['--port', '1', '--port', '2'])).toBe('--port is given twice, keep one');
});
