/** The handshake's messages: JSON text, so that every version can read the refusal of another. */
import { createHash, timingSafeEqual } from 'node:crypto';

import { FarmError, PROTOCOL_VERSION } from '../core/index.ts';
import type {
  ClientHello,
  ErrorCode,
  PeerHello,
  Refusal,
  Role,
  Welcome,
  WorkerHello,
} from '../core/index.ts';
import {
  amount,
  finite,
  flag,
  integer,
  listOf,
  name,
  nullable,
  resourceAmounts,
  text,
} from '../codec/checks.ts';
import type { Check } from '../codec/checks.ts';

/** The hello of each role. */
export interface HelloByRole {
  readonly client: ClientHello;
  readonly worker: WorkerHello;
  readonly peer: PeerHello;
}

/** Largest handshake frame, bytes. */
export const HANDSHAKE_BYTES_MAX = 65_536;

const PATH_PREFIX = '/farm/v1/';
const ROLES: readonly Role[] = ['client', 'worker', 'peer'];

/** The path a role dials. */
export function rolePath(role: Role): string {
  return `${PATH_PREFIX}${role}`;
}

/** The role a path is for; undefined where it is for none. */
export function pathRole(path: string): Role | undefined {
  return ROLES.find((role) => path === rolePath(role));
}

/** Absent in a new session. */
const optionalCount: Check = (value) => (value === undefined ? undefined : integer(value));

const COMMON = { protocol: integer, version: name, incarnation: name, name } as const;

/** Optional, since only a worker that a nanny started anew has it. */
const optionalDeath: Check = (value) => {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'object') return 'is not a record';
  // SAFE: any object may be read by name; what is read is unknown.
  const { pid, exitCode, signal, rssBytes, logTail } = value as Readonly<Record<string, unknown>>;
  const problem =
    integer(pid) ??
    nullable(finite)(exitCode) ??
    nullable(text)(signal) ??
    nullable(amount)(rssBytes) ??
    text(logTail);
  return problem === undefined ? undefined : `has a field that ${problem}`;
};

/** Absent where no resource stands for devices. */
const optionalNames: Check = (value) => (value === undefined ? undefined : listOf(name)(value));

/** Absent where a client wants no share of its own. */
const optionalWeight: Check = (value) => {
  if (value === undefined || value === null) return undefined;
  return finite(value) ?? (Number(value) > 0 ? undefined : 'is not above 0');
};

const HELLO_FIELDS: { readonly [R in Role]: Readonly<Record<string, Check>> } = {
  client: { ...COMMON, resume: optionalCount, weight: optionalWeight },
  worker: {
    ...COMMON,
    nthreads: (value) => integer(value) ?? (value === 0 ? 'is 0' : undefined),
    resources: resourceAmounts,
    devices: optionalNames,
    memoryLimitBytes: nullable(amount),
    address: nullable(name),
    host: name,
    pid: integer,
    localDirectory: text,
    nanny: flag,
    resume: optionalCount,
    previousDeath: optionalDeath,
  },
  peer: COMMON,
};

/**
 * Reads the first frame of a connection.
 *
 * @param role - The role whose path was dialled.
 * @param ours - Versions of this side.
 * @throws FarmError `ERR_VERSION` where the peer speaks another protocol version, `ERR_PROTOCOL`
 *   where the frame is not a hello of this role, naming the field.
 */
export function parseHello<R extends Role>(
  frame: string,
  role: R,
  ours: { readonly version: string },
): HelloByRole[R] {
  const hello = jsonRecord(frame, 'hello');
  if (hello['op'] !== 'hello') throw broken('the first frame is not a hello');
  const { protocol, version } = hello;
  const problem = integer(protocol) ?? undefined;
  if (problem !== undefined) throw broken(`hello: protocol ${problem}`);
  // Before all other fields: another version may have other fields.
  if (protocol !== PROTOCOL_VERSION) {
    const theirs = typeof version === 'string' ? version.slice(0, 40) : 'unknown';
    throw versionMismatch(
      { protocol: PROTOCOL_VERSION, version: ours.version },
      { protocol: Number(protocol), version: theirs },
      `this ${role}`,
    );
  }
  if (hello['role'] !== role) throw broken(`hello: role is not ${role}, whose path was dialled`);
  const fields = HELLO_FIELDS[role];
  for (const [field, check] of Object.entries(fields)) {
    const found = check(hello[field]);
    if (found !== undefined) throw broken(`hello: ${field} ${found}`);
  }
  // SAFE: role and all fields of its hello were checked; unknown ones are dropped.
  return {
    op: 'hello',
    role,
    ...Object.fromEntries(
      Object.keys(fields)
        .map((field) => [field, hello[field]] as const)
        .filter(([, value]) => value !== undefined),
    ),
  } as unknown as HelloByRole[R];
}

/**
 * Reads the answer to a hello.
 *
 * @param peer - Whom this side dialled, for humans.
 * @param ours - Versions of this side.
 * @throws FarmError what the refusal says, or `ERR_PROTOCOL` or `ERR_VERSION` where the answer is
 *   neither refusal nor welcome.
 */
export function parseAnswer(
  frame: string,
  peer: string,
  ours: { readonly version: string },
): Welcome {
  const answer = jsonRecord(frame, 'answer');
  const { op, protocol, version, code, message, id, heartbeatMs, leaseMs, received } = answer;
  if (op === 'refusal') throw refused(peer, code, message);
  if (op !== 'welcome') throw broken(`${peer} answered the hello with something else`);
  const problem =
    prefixed('protocol', integer(protocol)) ??
    prefixed('version', name(version)) ??
    prefixed('id', name(id)) ??
    prefixed('heartbeatMs', amount(heartbeatMs)) ??
    prefixed('leaseMs', amount(leaseMs)) ??
    prefixed('received', integer(received));
  if (problem !== undefined) throw broken(`welcome of ${peer}: ${problem}`);
  const welcome = {
    op,
    protocol: Number(protocol),
    version: String(version),
    id: String(id),
    heartbeatMs: Number(heartbeatMs),
    leaseMs: Number(leaseMs),
    received: Number(received),
  } as const;
  if (welcome.protocol !== PROTOCOL_VERSION) {
    throw versionMismatch(
      welcome,
      { protocol: PROTOCOL_VERSION, version: ours.version },
      'this side',
    );
  }
  return welcome;
}

/** The welcome of a server, to a peer of which so many frames have arrived. */
export function welcomeOf(
  identity: {
    readonly id: string;
    readonly version: string;
    readonly heartbeatMs: number;
    readonly leaseMs?: number;
  },
  received: number,
): Welcome {
  const { id, version, heartbeatMs, leaseMs = 0 } = identity;
  return {
    op: 'welcome',
    protocol: PROTOCOL_VERSION,
    version,
    id,
    heartbeatMs,
    leaseMs,
    received,
  };
}

/** The refusal that carries an error to the dialing side. */
export function refusalOf(why: FarmError, version: string): Refusal {
  const { code, message } = why;
  return { op: 'refusal', protocol: PROTOCOL_VERSION, version, code, message };
}

/** Turns the code and message a peer refused this side with into the error it meant. */
export function refused(peer: string, code: unknown, message: unknown): FarmError {
  const why = typeof message === 'string' ? message.slice(0, 2_000) : 'it gave no reason';
  return new FarmError(isCode(code) ? code : 'ERR_PROTOCOL', `${peer} refused: ${why}`);
}

const REFUSAL_CODES: ReadonlySet<unknown> = new Set<ErrorCode>([
  'ERR_ARGUMENT',
  'ERR_CLOSED',
  'ERR_CONNECT',
  'ERR_CONNECTION_LOST',
  'ERR_DUPLICATE_KEY',
  'ERR_INTERNAL',
  'ERR_LIMIT',
  'ERR_PROTOCOL',
  'ERR_TIMEOUT',
  'ERR_UNAUTHORIZED',
  'ERR_VERSION',
]);

function isCode(code: unknown): code is ErrorCode {
  return REFUSAL_CODES.has(code);
}

/**
 * The token of an `Authorization: Bearer` header; undefined where there is none.
 */
export function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer +([\x21-\x7e]{1,512})$/i.exec(header ?? '')?.[1];
}

/** Compares secrets without telling by its time where they differ, or how long they are. */
export function isSameToken(given: string, expected: string): boolean {
  return timingSafeEqual(sha256(given), sha256(expected));
}

/** Whether text can travel as a bearer token: printable ASCII without spaces. */
export function isToken(token: string): boolean {
  return /^[\x21-\x7e]{1,512}$/.test(token);
}

function sha256(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

interface Versions {
  readonly protocol: number;
  readonly version: string;
}

function versionMismatch(server: Versions, dialer: Versions, who: string): FarmError {
  return new FarmError(
    'ERR_VERSION',
    `the server speaks protocol ${server.protocol} (farm ${server.version}), ${who} speaks ` +
      `protocol ${dialer.protocol} (farm ${dialer.version}); install the same version on both`,
  );
}

function jsonRecord(frame: string, what: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(frame);
  } catch (error) {
    throw new FarmError('ERR_PROTOCOL', `broken handshake: the ${what} is not JSON`, {
      cause: error,
    });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw broken(`the ${what} is not a record`);
  }
  // SAFE: a JSON object may be read by name; what is read is unknown.
  return value as Record<string, unknown>;
}

function prefixed(field: string, problem: string | undefined): string | undefined {
  return problem === undefined ? undefined : `${field} ${problem}`;
}

function broken(problem: string): FarmError {
  return new FarmError('ERR_PROTOCOL', `broken handshake: ${problem}`);
}
