import type { DataTable } from './data-table.ts';
import type { WorkerInstruction } from './instructions.ts';
import type { WorkerRun } from './run.ts';

/** Lets runs that were just given to slots take along what is in the store for them alone. */
export function moveInputs(
  out: WorkerInstruction[],
  from: number,
  data: DataTable,
  runs: ReadonlyMap<number, WorkerRun>,
): void {
  // Nearly always there is nothing to move.
  if (data.movable.size === 0) return;
  for (let index = from; index < out.length; index++) {
    const instruction = out[index];
    if (instruction?.do !== 'execute') continue;
    const given = instruction.runs.map((slotRun) => {
      const run = runs.get(slotRun.run);
      const moved = run === undefined ? [] : data.moveInto(run);
      return moved.length === 0 ? slotRun : { ...slotRun, moved };
    });
    out[index] = { ...instruction, runs: given };
  }
}
