/** Requests for bytes, and questions. */
import { failure, reply } from '@farm/protocol/core';
import type { Ask, GetRelayed, GetResult } from '@farm/protocol/core';

import { adaptiveTarget, workersToClose } from './adaptive.ts';
import { findTask } from './blocks.ts';
import { eachItem } from './collections/one-or-many.ts';
import { takeCoordination } from './coordination/questions.ts';
import { hasWhat, takeRebalance, takeReplicate, whoHas } from './data-questions.ts';
import type { PluginLoaded } from './events.ts';
import { explain } from './explain.ts';
import { groups } from './groups.ts';
import { schedulerInfo } from './info.ts';
import type { Asker } from './instructions.ts';
import { takeRegisterPlugin, takeUnregisterPlugin } from './plugin-rounds.ts';
import { valueOf } from './replicas.ts';
import { takeRetire } from './retire.ts';
import { spansBelow } from './spans.ts';
import type { ClientState, TaskState, WorkerState } from './state.ts';
import { taskOf } from './submission.ts';
import type { Tables } from './tables.ts';

/** A client asks for a result. */
export function takeGetResult(tables: Tables, client: ClientState, message: GetResult): void {
  const { request, id } = message;
  const asker: Asker = { role: 'client', session: client.session, request };
  const task = taskOf(client, id);
  if (task === null) {
    const why = `future ${id} is not this client's (any more)`;
    const refusal = failure('ERR_FOREIGN_FUTURE', why, '', null, null);
    tables.outbox.instruct({ do: 'refuse-data', asker, failure: refusal });
    return;
  }
  serve(tables, asker, task, message, null);
}

/** A worker asks for an input it cannot fetch itself. */
export function takeGetRelayed(tables: Tables, worker: WorkerState, message: GetRelayed): void {
  const asker: Asker = { role: 'worker', session: worker.session, request: message.request };
  const task = findTask(tables, message.task);
  if (task === undefined) {
    const why = `task ${message.task} is not known (any more)`;
    const refusal = failure('ERR_LOST_DATA', why, '', null, null);
    tables.outbox.instruct({ do: 'refuse-data', asker, failure: refusal });
    return;
  }
  serve(tables, asker, task, message, worker);
}

/** Answers a question, at once or when its condition holds. */
export function takeAsk(tables: Tables, client: ClientState, message: Ask): void {
  const { request } = message;
  const { outbox, nowMs } = tables;
  switch (message.method) {
    case 'scheduler-info':
      outbox.toClient(client, reply(request, schedulerInfo(tables, nowMs, client), null));
      break;
    case 'wait-for-workers':
      tables.workersAwaited.push({ client, request, count: message.params.count });
      answerWorkersAwaited(tables);
      break;
    case 'explain':
      outbox.toClient(client, reply(request, explain(tables, message.params.key), null));
      break;
    case 'spans': {
      const spans = spansBelow(tables.spans, message.params.path);
      outbox.toClient(client, reply(request, spans, null));
      break;
    }
    case 'groups':
      outbox.toClient(client, reply(request, groups(tables, message.params.keys), null));
      break;
    case 'register-plugin': {
      const { session } = client;
      outbox.instruct({ do: 'load-plugin', client: session, request, plugin: message.params });
      break;
    }
    case 'unregister-plugin': {
      const { name } = message.params;
      outbox.instruct({ do: 'unload-plugin', client: client.session, request, name });
      break;
    }
    case 'register-worker-plugin':
      takeRegisterPlugin(tables, client, request, message.params);
      break;
    case 'unregister-worker-plugin':
      takeUnregisterPlugin(tables, client, request, message.params.name);
      break;
    case 'story':
      outbox.toClient(client, reply(request, tables.story.of(message.params.key), null));
      break;
    case 'who-has':
      outbox.toClient(client, reply(request, whoHas(client, message.params.ids), null));
      break;
    case 'has-what':
      outbox.toClient(client, reply(request, hasWhat(tables, message.params.workers), null));
      break;
    case 'replicate':
      takeReplicate(tables, client, request, message.params);
      break;
    case 'rebalance':
      takeRebalance(tables, client, request, message.params);
      break;
    case 'retire-workers':
      takeRetire(tables, client, request, message.params);
      break;
    case 'adaptive-target': {
      const { targetDurationMs, coolDownMs } = message.params;
      const { requirements, target } = adaptiveTarget(tables, targetDurationMs);
      const cooled = client.targets.add(target, nowMs, coolDownMs);
      outbox.toClient(client, reply(request, { requirements, target: cooled }, null));
      break;
    }
    case 'workers-to-close': {
      const names = workersToClose(tables, message.params.count);
      outbox.toClient(client, reply(request, names, null));
      break;
    }
    default:
      takeCoordination(tables, client, message);
  }
}

/** A plugin that a client asked for is there, or gone, or is not to be had. */
export function answerPluginLoaded(tables: Tables, event: PluginLoaded): void {
  const { client: session, request, isNew, failure: why } = event;
  const client = tables.clients.get(session);
  if (client === undefined) return;
  tables.outbox.toClient(client, reply(request, why === null ? isNew : null, why));
}

/** Answers those who waited for as many workers as there are now. */
export function answerWorkersAwaited(tables: Tables): void {
  if (tables.workersAwaited.length === 0) return;
  const { size } = tables.accepting;
  tables.workersAwaited = tables.workersAwaited.filter(({ client, request, count }) => {
    if (count > size) return true;
    tables.outbox.toClient(client, reply(request, size, null));
    return false;
  });
}

function serve(
  tables: Tables,
  asker: Asker,
  task: TaskState,
  { offset, length }: GetResult | GetRelayed,
  except: WorkerState | null,
): void {
  const { outbox } = tables;
  const value = valueOf(task);
  if (value !== null) {
    const bytes = value.subarray(offset, offset + length);
    outbox.instruct({ do: 'send-data', asker, totalBytes: task.size, offset, bytes });
    return;
  }
  const holder = pickHolder(task, except);
  if (holder !== null) {
    const { number } = task;
    const worker = holder.session;
    outbox.instruct({ do: 'relay-data', asker, worker, task: number, offset, length });
    return;
  }
  const { key } = task;
  const why = `${key} is ${task.state}: its result is not in memory`;
  const refusal = task.trouble?.failure ?? failure('ERR_LOST_DATA', why, key, null, null);
  outbox.instruct({ do: 'refuse-data', asker, failure: refusal });
}

/** One that is there to stay, where there is one. */
function pickHolder(task: TaskState, except: WorkerState | null): WorkerState | null {
  let leaving: WorkerState | null = null;
  for (const holder of eachItem(task.holders)) {
    if (holder === except) continue;
    if (!holder.isLeaving && holder.away === null) return holder;
    leaving = holder;
  }
  return leaving;
}
