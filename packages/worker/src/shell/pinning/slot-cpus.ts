import { formatCpuList, type HostCpu } from './host-cpus.ts';

/**
 * Shares CPUs out to slots: each gets as many as the next, give or take one; the hardware threads of
 * a core stay together and so does a memory node, as far as slots and nodes divide. Where there
 * are more slots than CPUs, several slots have one CPU.
 *
 * @returns for each slot a list of CPUs, as `taskset --cpu-list` takes it
 */
export function slotCpus(cpus: readonly HostCpu[], slots: number): readonly string[] {
  const ordered = cpus.toSorted((a, b) => a.node - b.node || a.core - b.core || a.cpu - b.cpu);
  if (slots >= ordered.length) {
    return Array.from({ length: slots }, (_, slot) => {
      return formatCpuList(
        ordered.slice(slot % ordered.length, (slot % ordered.length) + 1).map(number),
      );
    });
  }
  const nodes = [...Map.groupBy(ordered, ({ node }) => node).values()];
  const shares = shareOut(
    slots,
    nodes.map(({ length }) => length),
  );
  const groups = shares.includes(0) ? [ordered] : nodes;
  return groups.flatMap((group, index) => {
    const count = groups.length === 1 ? slots : (shares[index] ?? 0);
    return Array.from({ length: count }, (_, slot) => {
      const first = Math.floor((slot * group.length) / count);
      const end = Math.floor(((slot + 1) * group.length) / count);
      return formatCpuList(group.slice(first, end).map(number));
    });
  });
}

/** Shares a whole number out in proportion to weights. */
function shareOut(total: number, weights: readonly number[]): readonly number[] {
  const sum = weights.reduce((all, weight) => all + weight, 0);
  let passed = 0;
  let given = 0;
  return weights.map((weight) => {
    passed += weight;
    const share = Math.round((total * passed) / sum) - given;
    given += share;
    return share;
  });
}

function number({ cpu }: HostCpu): number {
  return cpu;
}
