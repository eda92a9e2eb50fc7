import { expect, test } from 'vitest';

import { keepHugePagesToSelf, withHugePages } from '../src/huge-pages.ts';

const onLinux = process.platform === 'linux';

test.runIf(onLinux).each<[string, NodeJS.ProcessEnv]>([
  ['nothing', {}],
  ['other tunables', { GLIBC_TUNABLES: 'glibc.malloc.check=1' }],
])('an environment with %s is as it was, inside the process', (_, before) => {
  const env = withHugePages({ HOME: '/root', ...before });
  expect(env['GLIBC_TUNABLES']).toMatch(/(^|:)glibc\.malloc\.hugetlb=1$/);
  expect(env['GLIBC_TUNABLES']).toContain(before['GLIBC_TUNABLES'] ?? '');
  keepHugePagesToSelf(env);
  expect(env).toEqual({ HOME: '/root', ...before });
});

test('what the user says about huge pages holds, and stays', () => {
  const theirs = { GLIBC_TUNABLES: 'glibc.malloc.hugetlb=0' };
  const env = withHugePages(theirs);
  expect(env).toEqual(theirs);
  keepHugePagesToSelf(env);
  expect(env).toEqual(theirs);
});
