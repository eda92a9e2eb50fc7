/** What workers say to each other; data flows back in bulk frames. */
import type { DataFailed } from './to-client.ts';
import type { GetData } from './to-worker.ts';

/** Everything peers say to each other; data flows back in bulk frames. */
export type PeerMessage = GetData | DataFailed;
