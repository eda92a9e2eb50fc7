/**
 * Process groups, through which a command is signalled together with everything it started. A
 * command is started `detached`, which makes its pid the number of its group.
 */

/** Sends a signal to every process of a group; false where the group is gone. */
export function signalGroup(group: number, signal: NodeJS.Signals): boolean {
  return send(group, signal);
}

/** Whether the group still has a process. */
export function groupExists(group: number): boolean {
  return send(group, 0);
}

function send(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-group, signal);
    return true;
  } catch (error) {
    // EPERM: there are processes, all of them of another user by now.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
