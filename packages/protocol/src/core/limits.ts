/**
 * Every limit of the wire, with its default. A limit that is reached is an error with a code,
 * never a silent wait. Sizes are bytes, durations milliseconds.
 */
export const LIMITS = {
  /** Largest WebSocket message either side accepts. Larger data travels in chunks. */
  frameBytesMax: 67_108_864,
  /** One chunk of bulk data. */
  bulkChunkBytes: 1_048_576,
  /** Chunks of one value requested ahead. */
  bulkChunksInFlightMax: 8,
  /** Bytes of large values that a worker without memory limit brings over at once; one always. */
  fetchBytesMax: 536_870_912,
  /** Streams of data that a worker serves at once. */
  dataStreamsMax: 128,
  /** Results up to this size travel inside the completion message. */
  inlineValueBytesMax: 4_096,
  /** Sum of inline results the scheduler keeps for later dependents and clients. */
  inlineTotalBytesMax: 67_108_864,
  /** Sum of scattered values the scheduler keeps until workers hold them. */
  scatterBytesMax: 268_435_456,
  /** Tasks in one submit message; a larger map is sent as several blocks. */
  blockTasksMax: 65_536,
  /** Bytes of encoded arguments in one submit message. */
  blockBytesMax: 16_777_216,
  /** Bytes of one encoded argument list. */
  argumentsBytesMax: 50_331_648,
  /** A peer that sends nothing for this long has lost its connection. */
  heartbeatTimeoutMs: 15_000,
  /** How long a worker or client whose socket was lost is waited for. */
  leaseMs: 30_000,
  /** A connection must finish its handshake within this time. */
  handshakeMs: 10_000,
  /** Connections that have not finished their handshake. */
  handshakesOpenMax: 256,
  /** Bytes queued towards one peer before it counts as a slow consumer and is dropped. */
  sendBufferBytesMax: 268_435_456,
  /** Devices that one resource of a worker stands for. */
  devicesMax: 1_024,
  /** Nesting depth of a user value. */
  valueDepthMax: 1_000,
  /** UTF-16 units kept of a remote error's message and of its stack. */
  errorTextMax: 10_000,
  /** Length of a key in UTF-16 units. */
  keyLengthMax: 1_024,
  /** Entries of the scheduler's transition log. */
  storyEntriesMax: 10_000,
  /** Names of each kind of shared object: locks, queues, datasets, … */
  sharedNamesMax: 10_000,
  /** Bytes of one shared value: an item of a queue, a variable, a dataset, an event of a topic. */
  sharedValueBytesMax: 1_048_576,
  /** Bytes of all shared values together. */
  sharedTotalBytesMax: 67_108_864,
  /** Futures in one shared value. */
  sharedFuturesMax: 65_536,
  /** Requests of one session that wait for a lock, an item, an event, … */
  sharedWaitingMax: 10_000,
  /** Leases a semaphore can have. */
  semaphoreLeasesMax: 100_000,
  /** Items in a queue. */
  queueItemsMax: 100_000,
  /** Events of a topic that are remembered; the oldest are forgotten. */
  topicEventsMax: 1_000,
  /** Names in a path of the metadata, or of a span. */
  pathDepthMax: 32,
  /** Spans that are remembered; those without tasks are forgotten first. */
  spansMax: 1_000,
  /** How long a plugin of a worker may take for its teardown. */
  pluginTeardownMs: 30_000,
  /** How long its setup may take, unless it says so itself. */
  pluginSetupMs: 300_000,
  /** Bytes of a plugin of workers, with what it uploads. */
  pluginBytesMax: 50_331_648,
  /** Bytes of all of them together. */
  pluginsTotalBytesMax: 268_435_456,
  /** Deaths of its workers after which a task is blamed (Dask's allowed-failures). */
  allowedFailures: 3,
} as const;
