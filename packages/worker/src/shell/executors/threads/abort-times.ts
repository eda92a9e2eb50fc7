/** A task that was aborted and has not noticed within this time blocks its thread. */
export const ABORT_HEARD_MS = 500;

/** A task that has noticed is terminated when it has not ended by then. */
export const ABORT_GRACE_MS = 2_000;

/** The longest delay a timer takes. */
export const TIMER_MS_MAX: number = 2 ** 31 - 1;
