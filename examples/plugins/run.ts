/**
 * Runs tasks that write into a directory of their node, which is gone after the job, and keeps what
 * they write: `node run.ts SCHEDULER_FILE TEMPORARY TARGET TASKS`.
 */
import { archivePlugin, Client, workerPlugin } from '@farm/client';

const [, , schedulerFile = 'scheduler.json', temporary = '/tmp', target = '.', tasks = '100'] =
  process.argv;

const write = async (task: number, directory: string): Promise<string> => {
  const { writeFile } = await import('node:fs/promises');
  const { setTimeout: sleep } = await import('node:timers/promises');
  await sleep(20);
  const file = `${directory}/output-${task}.txt`;
  await writeFile(file, `result of task ${task}\n`);
  return file;
};

await using client = new Client({ schedulerFile });
const copy = workerPlugin(new URL('./copy-worker-plugin.ts', import.meta.url), {
  name: 'copy',
  args: [temporary, `${target}/copied`],
});
await client.registerPlugin(copy);
// One archive for each worker, since each node has its own temporary directory.
const archive = { from: temporary, to: `${target}/{worker}_archive.tar.gz` };
const everyMs = Number(process.env['ARCHIVE_EVERY_MS'] ?? 60_000);
await client.registerPlugin(archivePlugin({ ...archive, everyMs }));

const numbers = Array.from({ length: Number(tasks) }, (_, task) => task);
const files = await client.gather(
  client.map(
    write,
    numbers,
    numbers.map(() => temporary),
  ),
);
console.log(`${files.length} tasks are done`);
