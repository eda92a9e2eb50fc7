/**
 * What tests and benchmarks use of Node beyond the oldest version that the packages run on, whose types
 * are the project's: so the compiler refuses what is newer in the packages themselves.
 */
declare namespace NodeJS {
  interface Process {
    /** Node 23.9 and newer. */
    readonly threadCpuUsage?: () => NodeJS.CpuUsage;
  }
}

interface ImportMeta {
  /** Node 22.18, 24.2 and newer. */
  readonly main?: boolean;
}
