import { arg, command, text } from '../src/index.ts';
import { expect, test } from 'vitest';

test('what is staged is in the spec, and its slots count as arguments', () => {
  const solve = command('./wrapper.sh', ['FreeFem++-nw', 'in.edp'], {
    prefix: ['apptainer', 'exec', arg(1)],
    stdout: 'stream',
    stage: {
      in: ['wrapper.sh', text`inputs/${arg(0)}.edp`, { from: arg(3), to: 'in.edp', link: true }],
      out: [{ from: '*.vtu', to: text`results/${arg(2)}/` }],
    },
  });
  expect(solve.arity).toBe(4);
  expect(solve.spec).toMatchObject({
    prefix: ['apptainer', 'exec', { arg: 1 }],
    stdout: { to: 'stream' },
    stage: {
      directory: null,
      remove: 'on-success',
      in: [
        { from: 'wrapper.sh', to: null, link: false },
        { from: ['inputs/', { arg: 0 }, '.edp'], to: null, link: false },
        { from: { arg: 3 }, to: 'in.edp', link: true },
      ],
      out: [{ from: '*.vtu', to: ['results/', { arg: 2 }, '/'], optional: false }],
    },
  });
});

test.each([
  [{ stage: { remove: 'sometimes' } }, /stage\.remove is not 'always'/],
  [{ stage: { into: [] } }, /stage: there is no option "into"/],
  [{ stage: { in: [{ from: 'a', too: 'b' }] } }, /stage\.in\[0\]: there is no option "too"/],
  [{ stage: { out: [{ from: '*', to: 'a\0b' }] } }, /stage\.out\[0\]\.to has a NUL/],
  [{ stage: { out: [{ from: '*' }] } }, /stage\.out\[0\]\.to is not text/],
  [{ prefix: 'apptainer exec' }, /prefix is not an array/],
])('%j is refused', (options, message) => {
  // @ts-expect-error what a program without types may pass
  expect(() => command('true', [], options)).toThrow(message);
});
