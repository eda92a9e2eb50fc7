/**
 * A process with workers that do nothing: they speak the real protocol over connections of their
 * own, and say that every run has ended as soon as they are told of it. Small results are one tiny
 * value; of larger ones they say that they hold them. No input is ever fetched.
 *
 * Started by `zero-worker.ts` with the scheduler's file and the number of workers.
 */
import {
  dial,
  LIMITS,
  PROTOCOL_VERSION,
  workerHeartbeat,
  workerMetrics,
  readSchedulerFile,
} from '@farm/protocol';
import type {
  Connection,
  Run,
  WorkerBoundMessage,
  WorkerHello,
  WorkerMessage,
} from '@farm/protocol';
import { failure, finished, holding, dataFailed, stopped } from '@farm/protocol/core';
import { encodeValue } from '@farm/protocol/value';

const VALUE = encodeValue(0).bytes;
/** What a run of nothing takes in a real slot, about. */
const DURATION_US = 10;
const CONNECT_MS = 20_000;

/** Bytes of the results from now on; the parent says so. */
let resultBytes = 1;
process.on('message', (bytes) => {
  resultBytes = Number(bytes);
  process.send?.('noted');
});
process.on('disconnect', () => process.exit());

const [schedulerFile = '', count = '0'] = process.argv.slice(2);
await Promise.all(Array.from({ length: Number(count) }, (_, index) => join(`zero-${index}`)));

async function join(name: string): Promise<void> {
  const { address, token } = await readSchedulerFile(schedulerFile, { role: 'worker' });
  const { connection, welcome } = await dial({
    address,
    role: 'worker',
    token,
    hello: hello(name),
    timeoutMs: CONNECT_MS,
  });
  connection.listen({
    messages: (batch) => {
      for (const message of batch) answer(connection, message);
    },
    bulk: () => undefined,
    closed: () => process.exit(),
  });
  setInterval(() => {
    const metrics = workerMetrics({
      rssBytes: 0,
      storedBytes: 0,
      spilledBytes: 0,
      paused: false,
      cpu: 0,
      loopLagMs: 0,
      executing: 0,
      queued: 0,
    });
    connection.send(workerHeartbeat(metrics, []));
  }, welcome.heartbeatMs);
}

function answer(
  connection: Connection<WorkerBoundMessage, WorkerMessage>,
  message: WorkerBoundMessage,
): void {
  switch (message.op) {
    case 'run':
      connection.send(ended(message));
      break;
    case 'stop':
      connection.send(stopped([], message.runs));
      break;
    case 'put-data':
      connection.send(holding(message.tasks));
      break;
    case 'acquire':
      connection.send(holding([message.task]));
      break;
    case 'get-data': {
      const why = failure('ERR_LOST_DATA', 'a zero worker has no data', '', null, null);
      connection.send(dataFailed(message.request, why));
      break;
    }
    case 'close-worker':
      process.exit();
      break;
    default:
      break;
  }
}

function ended({ runs }: Run): WorkerMessage {
  const isInline = resultBytes <= LIMITS.inlineValueBytesMax;
  const size = isInline ? VALUE.byteLength : resultBytes;
  const values = new Uint8Array(isInline ? runs.length * size : 0);
  if (isInline) for (let at = 0; at < values.byteLength; at += size) values.set(VALUE, at);
  return finished({
    runs,
    sizes: runs.map(() => size),
    values,
    ends: runs.map((_, index) => (isInline ? (index + 1) * size : 0)),
    durationsUs: runs.map(() => DURATION_US),
  });
}

function hello(name: string): WorkerHello {
  return {
    op: 'hello',
    role: 'worker',
    protocol: PROTOCOL_VERSION,
    version: '0',
    incarnation: `${name}-${process.pid}`,
    name,
    nthreads: 1,
    resources: [],
    memoryLimitBytes: null,
    address: `tcp://127.0.0.1:${10_000 + Number(name.slice(5))}`,
    host: 'zero',
    pid: process.pid,
    localDirectory: '',
    nanny: false,
  };
}
