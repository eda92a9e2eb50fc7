import { runInNewContext } from 'node:vm';

/**
 * Names of Node's own globals on a worker thread, beyond those of the language. Written out, since
 * this process may have globals that no worker has: a test runner's, a polyfill's, the program's.
 */
const NODE_GLOBALS: readonly string[] = [
  ...['AbortController', 'AbortSignal', 'Blob', 'BroadcastChannel', 'Buffer'],
  ...['ByteLengthQueuingStrategy', 'CloseEvent', 'CompressionStream', 'CountQueuingStrategy'],
  ...['Crypto', 'CryptoKey', 'CustomEvent', 'DecompressionStream', 'DOMException', 'Event'],
  ...['EventTarget', 'File', 'FormData', 'Headers', 'MessageChannel', 'MessageEvent'],
  ...['MessagePort', 'Navigator', 'Performance', 'PerformanceEntry', 'PerformanceMark'],
  ...['PerformanceMeasure', 'PerformanceObserver', 'PerformanceObserverEntryList'],
  ...['PerformanceResourceTiming', 'ReadableByteStreamController', 'ReadableStream'],
  ...['ReadableStreamBYOBReader', 'ReadableStreamBYOBRequest', 'ReadableStreamDefaultController'],
  ...['ReadableStreamDefaultReader', 'Request', 'Response', 'SubtleCrypto', 'TextDecoder'],
  ...['TextDecoderStream', 'TextEncoder', 'TextEncoderStream', 'TransformStream'],
  ...['TransformStreamDefaultController', 'URL', 'URLPattern', 'URLSearchParams', 'WebAssembly'],
  ...['WebSocket', 'WritableStream', 'WritableStreamDefaultController'],
  ...['WritableStreamDefaultWriter', 'atob', 'btoa', 'clearImmediate', 'clearInterval'],
  ...['clearTimeout', 'console', 'crypto', 'fetch', 'global', 'navigator', 'performance'],
  ...['process', 'queueMicrotask', 'setImmediate', 'setInterval', 'setTimeout'],
  ...['structuredClone'],
];

/** What farm itself provides: tasks that travel by their source need not import it. */
const FARM_GLOBALS: readonly string[] = ['getClient', 'taskContext'];

/** What compilers put around functions to keep their names; workers define it. */
const COMPILER_HELPERS: readonly string[] = ['__name'];

let globals: ReadonlySet<string> | undefined;

/** Names that a function on a worker thread finds without anybody passing them. */
export function workerGlobals(): ReadonlySet<string> {
  globals ??= new Set([
    ...languageGlobals(),
    ...NODE_GLOBALS,
    ...FARM_GLOBALS,
    ...COMPILER_HELPERS,
  ]);
  return globals;
}

function languageGlobals(): readonly string[] {
  // A fresh context has what the language defines and nothing else.
  return String(runInNewContext('Object.getOwnPropertyNames(globalThis).join()')).split(',');
}
