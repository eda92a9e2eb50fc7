import { inspect, styleText } from 'node:util';

import { FarmError } from './core/errors.ts';
import { oneLine, quote } from './quote.ts';

/** How much a record matters, least first; `silent` records nothing. */
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** Records one event. The message is a constant sentence; what varies goes into the fields. */
export type LogMethod = (message: string, fields?: Readonly<Record<string, unknown>>) => void;

/**
 * What farm writes its log to. `console` is one, and any logger is easily made into one.
 *
 * @example
 * const logger: Logger = createLogger({ name: 'farm.scheduler' });
 * logger.info('worker joined', { worker: 'tcp://10.0.0.2:4000', nthreads: 4 });
 */
export interface Logger {
  readonly trace: LogMethod;
  readonly debug: LogMethod;
  readonly info: LogMethod;
  readonly warn: LogMethod;
  readonly error: LogMethod;
}

/** Where log lines go: `process.stderr`, a file stream, or anything that takes text. */
export interface LogStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

/** Options of {@link createLogger}. */
export interface LoggerOptions {
  /** Names the part that logs, for example `farm.scheduler`. */
  readonly name: string;
  /** @default process.stderr */
  readonly stream?: LogStream;
  /** @default the environment variable FARM_LOG_LEVEL, else 'info' */
  readonly level?: LogLevel;
  /** @default the environment variable FARM_LOG_FORMAT, else 'text' */
  readonly format?: 'text' | 'json';
  /** @default process.env */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** @default the wall clock */
  readonly now?: () => Date;
}

const LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'silent'];
const FORMATS: readonly ('text' | 'json')[] = ['text', 'json'];

/**
 * Makes a logger that writes one line a record, each with a single write, so that lines of several
 * processes sharing a file do not mix:
 * `2026-01-01T00:00:00.000Z INFO farm.scheduler - worker joined worker=tcp://10.0.0.2:4000`,
 * or one JSON object a line. Logging never throws, whatever the fields hold.
 *
 * @throws FarmError `ERR_ARGUMENT` where FARM_LOG_LEVEL or FARM_LOG_FORMAT is not valid.
 */
export function createLogger(options: LoggerOptions): Logger {
  const { name, stream = process.stderr, env = process.env, now = () => new Date() } = options;
  const level = options.level ?? fromEnv(env, 'FARM_LOG_LEVEL', LEVELS) ?? 'info';
  const format = options.format ?? fromEnv(env, 'FARM_LOG_FORMAT', FORMATS) ?? 'text';
  const isColoured = stream.isTTY === true && (env['NO_COLOR'] ?? '') === '';

  const method = (methodLevel: Exclude<LogLevel, 'silent'>): LogMethod => {
    if (LEVELS.indexOf(methodLevel) < LEVELS.indexOf(level)) return ignore;
    return (message, fields = {}) => {
      const record = { time: now().toISOString(), level: methodLevel, name, message, fields };
      stream.write(`${format === 'json' ? toJson(record) : toText(record, isColoured)}\n`);
    };
  };
  return {
    trace: method('trace'),
    debug: method('debug'),
    info: method('info'),
    warn: method('warn'),
    error: method('error'),
  };
}

const ignore: LogMethod = () => {};

/** A logger that records nothing: the default of a library inside a user's program. */
export const silentLogger: Logger = {
  trace: ignore,
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
};

interface LogRecord {
  readonly time: string;
  readonly level: Exclude<LogLevel, 'silent'>;
  readonly name: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

const COLOURS = {
  trace: 'gray',
  debug: 'gray',
  info: 'green',
  warn: 'yellow',
  error: 'red',
} as const;

function toText({ time, level, name, message, fields }: LogRecord, isColoured: boolean): string {
  const word = level.toUpperCase();
  const shown = isColoured ? styleText(COLOURS[level], word, { validateStream: false }) : word;
  const head = `${time} ${shown} ${name} - ${oneLine(message)}`;
  const pairs = fieldEntries(fields).map(([key, value]) => ` ${oneLine(key)}=${fieldText(value)}`);
  return head + pairs.join('');
}

function toJson({ time, level, name, message, fields }: LogRecord): string {
  const own = { time, level, name, message };
  const entries = fieldEntries(fields).map(([key, value]): [string, unknown] => {
    // A field must not pass itself off as the record's own time or level.
    return [Object.hasOwn(own, key) ? `fields.${key}` : key, fieldJson(value)];
  });
  return JSON.stringify({ ...own, ...Object.fromEntries(entries) });
}

/** The fields that are there; a getter that throws shows as its error. */
function fieldEntries(fields: Readonly<Record<string, unknown>>): [string, unknown][] {
  return Object.keys(fields).flatMap((key): [string, unknown][] => {
    try {
      const value = fields[key];
      return value === undefined ? [] : [[key, value]];
    } catch (error) {
      return [[key, error]];
    }
  });
}

function fieldText(value: unknown): string {
  const text = plainText(value);
  return /^[\w./:@%+,-]+$/.test(text) ? text : oneLine(JSON.stringify(text));
}

function plainText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return errorText(value);
  if (typeof value !== 'object' || value === null) return String(value);
  return inspected(value);
}

function fieldJson(value: unknown): unknown {
  if (typeof value === 'bigint' || typeof value === 'symbol') return String(value);
  if (typeof value === 'function') return inspected(value);
  if (value instanceof Error) return { message: errorText(value), stack: stackOf(value) };
  try {
    // Checks one value at a time, so that one bad field (a cycle, a bigint inside, a throwing
    // toJSON) costs only itself.
    const json = JSON.stringify(value);
    return json === undefined ? null : JSON.parse(json);
  } catch {
    return inspected(value);
  }
}

function errorText(error: Error): string {
  try {
    const cause = error.cause instanceof Error ? `; cause: ${error.cause.message}` : '';
    return `${error.name}: ${error.message}${cause}`;
  } catch {
    return 'an error that cannot be printed';
  }
}

function stackOf(error: Error): string | undefined {
  try {
    return typeof error.stack === 'string' ? error.stack : undefined;
  } catch {
    return undefined;
  }
}

function inspected(value: unknown): string {
  try {
    return inspect(value, { depth: 3, breakLength: Infinity, maxStringLength: 1_000 });
  } catch {
    return 'a value that cannot be printed';
  }
}

function fromEnv<Choice extends string>(
  env: Readonly<Record<string, string | undefined>>,
  variable: string,
  choices: readonly Choice[],
): Choice | undefined {
  const text = env[variable] ?? '';
  if (text === '') return undefined;
  const choice = choices.find((candidate) => candidate === text.toLowerCase());
  if (choice !== undefined) return choice;
  throw new FarmError(
    'ERR_ARGUMENT',
    `${variable}: ${quote(text)} is not one of ${choices.join(', ')}`,
  );
}
