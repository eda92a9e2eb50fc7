/** Exit code of a worker that wants to be started again by its nanny (`EX_TEMPFAIL`). */
export const EXIT_RESTART = 75;
