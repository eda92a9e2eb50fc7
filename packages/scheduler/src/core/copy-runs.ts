/**
 * Tasks that run twice at once, see `speculation.ts`: what becomes of the other run when one ends.
 * The first good result counts; a run that comes to nothing is no matter while the other goes on.
 */
import type { Assignment, TaskState, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';

/** One run of the task has ended well: it is the task's, and its copy is given up. */
export function keepWinner(tables: Tables, task: TaskState, winner: Assignment): void {
  const { trouble, assignment } = task;
  const copy = trouble?.copy ?? null;
  if (trouble === null || copy === null || assignment === null) return;
  trouble.copy = copy === winner ? assignment : copy;
  task.assignment = winner;
  stopCopy(tables, task);
}

/** Gives up the copy of a task, if it has one. Its slot stays taken until its worker answers. */
export function stopCopy(tables: Tables, { trouble }: TaskState): void {
  const copy = trouble?.copy ?? null;
  if (trouble === null || copy === null) return;
  trouble.copy = null;
  copy.task = null;
  tables.outbox.stop(copy.worker, copy.run);
}

/**
 * The run of the task on this worker is over and came to nothing.
 *
 * @returns whether the task has another run, which goes on alone.
 */
export function hasOtherRun(
  tables: Tables,
  task: TaskState,
  worker: WorkerState,
  why: string,
): boolean {
  const { trouble, assignment } = task;
  const copy = trouble?.copy ?? null;
  if (trouble === null || copy === null || assignment === null) return false;
  const ended = copy.worker === worker ? copy : assignment;
  const left = ended === copy ? assignment : copy;
  trouble.copy = null;
  task.assignment = left;
  const cause = `${why}; it goes on as run ${left.run} on worker ${left.worker.name}`;
  noteRun(tables, task, cause, ended.run, worker);
  return true;
}

/** Writes into the story of a task that runs what happened to one of its runs. */
export function noteRun(
  { story, nowMs }: Tables,
  { block, index }: TaskState,
  cause: string,
  run: number,
  { name }: WorkerState,
): void {
  const end = index + 1;
  story.add(block.naming, index, end, 'processing', 'processing', cause, run, name, nowMs);
}
