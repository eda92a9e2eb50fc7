/** How a worker ended. */
export interface WorkerEnd {
  /** For the process: 0 on purpose, 1 for a reason that starting again does not cure. */
  readonly exitCode: number;
  readonly reason: string;
}
