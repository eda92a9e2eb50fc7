import { mkdir, open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { type OutputRecord, readOutput } from './executors/commands/output/read-output.ts';

const USAGE = `farm-output [--key KEY] [--stream stdout|stderr] [--split DIR] FILE|DIRECTORY...

Reads what workers streamed of the output of commands (stdout: 'stream').

  --key KEY      write what this task wrote
  --stream NAME  only this stream
  --split DIR    write a file for each task and stream into DIR: KEY.stdout, KEY.stderr
  --help         show this

Without --key and --split: each task, with its attempts and its bytes of stdout and stderr.
`;

/** Where the program writes, and what it is told. */
export interface OutputProgramHost {
  readonly argv: readonly string[];
  readonly stdout: (chunk: Uint8Array | string) => void;
  readonly stderr: (text: string) => void;
}

/**
 * Runs `farm-output`, which splits streamed output by task again.
 *
 * @returns the exit code: 0, 1 where a file cannot be read, 2 where the command line is not valid
 */
export async function runOutputProgram(host: OutputProgramHost): Promise<number> {
  const parsed = parse(host.argv);
  if (typeof parsed === 'string') {
    host.stderr(`farm-output: ${parsed}\n`);
    return 2;
  }
  const { values, positionals } = parsed;
  if (values.help === true) {
    host.stdout(USAGE);
    return 0;
  }
  try {
    const records = allRecords(await filesOf(positionals), values.key, values.stream);
    if (values.split !== undefined) await split(records, values.split);
    else if (values.key !== undefined) for await (const { bytes } of records) host.stdout(bytes);
    else for (const line of await summary(records)) host.stdout(line);
    return 0;
  } catch (error) {
    host.stderr(`farm-output: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

function parse(argv: readonly string[]): ReturnType<typeof parseFlags> | string {
  try {
    const parsed = parseFlags(argv);
    const { help, stream } = parsed.values;
    if (stream !== undefined && stream !== 'stdout' && stream !== 'stderr') {
      return `--stream is stdout or stderr, not ${stream}`;
    }
    if (parsed.positionals.length > 0 || help === true) return parsed;
    return 'names no file or directory; see farm-output --help';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

interface Flags {
  readonly values: {
    readonly key?: string;
    readonly stream?: string;
    readonly split?: string;
    readonly help?: boolean;
  };
  readonly positionals: readonly string[];
}

function parseFlags(argv: readonly string[]): Flags {
  const text = { type: 'string' } as const;
  const options = { key: text, stream: text, split: text, help: { type: 'boolean' } } as const;
  return parseArgs({ args: [...argv], options, allowPositionals: true });
}

async function filesOf(paths: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const path of paths) {
    if (!(await stat(path)).isDirectory()) files.push(path);
    else {
      const names = (await readdir(path)).filter((name) => name.endsWith('.farm-output'));
      files.push(...names.toSorted().map((name) => join(path, name)));
    }
  }
  return files;
}

async function* allRecords(
  files: readonly string[],
  key: string | undefined,
  stream: string | undefined,
): AsyncGenerator<OutputRecord, void, void> {
  for (const file of files) {
    for await (const record of readOutput(file)) {
      const isAsked = key === undefined || record.key === key;
      if (isAsked && (stream === undefined || record.stream === stream)) yield record;
    }
  }
}

async function split(records: AsyncIterable<OutputRecord>, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  const begun = new Set<string>();
  for await (const { key, stream, bytes } of records) {
    const path = join(directory, `${encodeURIComponent(key)}.${stream}`);
    await using file = await open(path, begun.has(path) ? 'a' : 'w');
    begun.add(path);
    await file.writeFile(bytes);
  }
}

async function summary(records: AsyncIterable<OutputRecord>): Promise<string[]> {
  const tasks = new Map<string, { attempts: Set<number>; stdout: number; stderr: number }>();
  for await (const { key, attempt, stream, bytes } of records) {
    const task = tasks.get(key) ?? { attempts: new Set(), stdout: 0, stderr: 0 };
    tasks.set(key, task);
    task.attempts.add(attempt);
    task[stream] += bytes.byteLength;
  }
  const lines = [...tasks].map(([key, { attempts, stdout, stderr }]) =>
    [key, [...attempts].join(','), stdout, stderr].join('\t'),
  );
  return ['key\tattempts\tstdout\tstderr', ...lines].map((line) => `${line}\n`);
}
