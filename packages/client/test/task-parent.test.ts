import { expect, test } from 'vitest';

import { connectFake } from './fake-scheduler.ts';

const TASK_CONTEXT = Symbol.for('farm.task');

test('what is submitted inside a task names that task, and outside none', async () => {
  await using rig = connectFake();
  const submit = (): unknown => rig.client.submit((x: number) => x, 1);
  submit();
  Object.assign(globalThis, { [TASK_CONTEXT]: { key: 'outer-3' } });
  try {
    submit();
    rig.client.map((x: number) => x, [1, 2]);
  } finally {
    Object.assign(globalThis, { [TASK_CONTEXT]: undefined });
  }
  submit();
  await rig.scheduler.submitted(5);
  const parents = rig.scheduler.heard('submit').map(({ parent }) => parent);
  expect(parents).toEqual([null, 'outer-3', 'outer-3', null]);
});
