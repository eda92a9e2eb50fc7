import { monitorEventLoopDelay, performance } from 'node:perf_hooks';

/** How a process was since the last look. */
export interface ProcessMetrics {
  /** Resident memory now. */
  readonly rssBytes: number;
  /** Processor use, all threads; 1 is one core. */
  readonly cpu: number;
  /** Longest stall of the event loop. */
  readonly loopLagMs: number;
}

const RESOLUTION_MS = 20;

/** Measures this process from one look to the next. */
export class ProcessMeter {
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  #lookedMs = performance.now();
  #cpuUs = cpuUs();

  constructor() {
    this.#delay.enable();
  }

  look(): ProcessMetrics {
    const nowMs = performance.now();
    const usedUs = cpuUs();
    const passedMs = Math.max(1, nowMs - this.#lookedMs);
    const cpu = (usedUs - this.#cpuUs) / (passedMs * 1_000);
    // The histogram's figures are nanoseconds and include the sampling interval itself.
    const longestMs = this.#delay.count === 0 ? 0 : this.#delay.max / 1e6;
    this.#delay.reset();
    this.#lookedMs = nowMs;
    this.#cpuUs = usedUs;
    return {
      rssBytes: process.memoryUsage.rss(),
      cpu: Math.max(0, cpu),
      loopLagMs: Math.max(0, longestMs - RESOLUTION_MS),
    };
  }

  [Symbol.dispose](): void {
    this.#delay.disable();
  }
}

function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
