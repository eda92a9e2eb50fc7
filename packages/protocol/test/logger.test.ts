import { describe, expect, test } from 'vitest';

import { createLogger, silentLogger, type LoggerOptions } from '../src/logger.ts';

function capture(options: Partial<LoggerOptions> = {}, isTTY = false) {
  const writes: string[] = [];
  const logger = createLogger({
    name: 'farm.test',
    stream: { write: (text) => writes.push(text), isTTY },
    env: {},
    now: () => new Date(0),
    ...options,
  });
  return { logger, writes };
}

function lastJson(writes: readonly string[]): unknown {
  return JSON.parse(writes.at(-1) ?? '');
}

describe('createLogger', () => {
  test('writes one line a record with one write', () => {
    const { logger, writes } = capture();
    logger.info('worker joined', {
      worker: 'tcp://h:1',
      nthreads: 4,
      note: 'two words',
      gone: undefined,
    });
    expect(writes).toEqual([
      '1970-01-01T00:00:00.000Z INFO farm.test - worker joined worker=tcp://h:1 nthreads=4 note="two words"\n',
    ]);
  });

  test('keeps line ends and control characters from forging lines', () => {
    const { logger, writes } = capture();
    logger.warn('bad\nname\u001b[2J', { 'a\nb': 'x\ny\u0007' });
    expect(writes).toEqual([
      '1970-01-01T00:00:00.000Z WARN farm.test - bad\\nname\\u001b[2J a\\nb="x\\ny\\u0007"\n',
    ]);
  });

  test('leaves out what is below its level', () => {
    const { logger, writes } = capture({ level: 'warn' });
    for (const level of ['trace', 'debug', 'info', 'warn', 'error'] as const) logger[level](level);
    expect(writes.map((line) => line.split(' ')[1])).toEqual(['WARN', 'ERROR']);
  });

  test('takes level and format from the environment, and the options before it', () => {
    const env = { FARM_LOG_LEVEL: 'Error', FARM_LOG_FORMAT: 'json' };
    const { logger, writes } = capture({ env });
    logger.warn('dropped');
    logger.error('kept');
    expect(writes).toHaveLength(1);
    expect(lastJson(writes)).toEqual({
      time: '1970-01-01T00:00:00.000Z',
      level: 'error',
      name: 'farm.test',
      message: 'kept',
    });
    const { logger: louder, writes: more } = capture({ env, level: 'trace', format: 'text' });
    louder.trace('kept');
    expect(more[0]).toContain(' TRACE farm.test - kept');
  });

  test.each([
    [{ FARM_LOG_LEVEL: 'loud' }, 'FARM_LOG_LEVEL: "loud" is not one of trace, debug'],
    [{ FARM_LOG_FORMAT: 'xml' }, 'FARM_LOG_FORMAT: "xml" is not one of text, json'],
  ])('refuses %j by name', (env, message) => {
    expect(() => capture({ env })).toThrow(message);
  });

  test('colours the level on a terminal only, and never under NO_COLOR', () => {
    const escape = '\u001b[';
    const onTerminal = capture({}, true);
    onTerminal.logger.error('x');
    expect(onTerminal.writes[0]).toContain(`${escape}31mERROR${escape}39m`);
    const plain = capture({ env: { NO_COLOR: '1' } }, true);
    plain.logger.error('x');
    expect(plain.writes[0]).not.toContain(escape);
  });

  test.each(['text', 'json'] as const)('never throws, whatever the fields hold (%s)', (format) => {
    const { logger, writes } = capture({ format });
    const cycle: Record<string, unknown> = {};
    cycle['self'] = cycle;
    const thrower = {
      get bad(): string {
        throw new Error('getter');
      },
    };
    logger.error('odd', {
      cycle,
      big: 10n,
      nested: { big: 10n },
      symbol: Symbol('s'),
      fn: () => 1,
      nothing: null,
      date: new Date(Number.NaN),
      error: new Error('outer', { cause: new Error('inner') }),
      json: {
        toJSON() {
          throw new Error('toJSON');
        },
      },
      thrower,
    });
    logger.error('getter on top', thrower);
    expect(writes).toHaveLength(2);
    for (const line of writes) expect(line.indexOf('\n')).toBe(line.length - 1);
    expect(writes[0]).toContain('Error: outer; cause: inner');
  });

  test('keeps the own members of a JSON record from being overwritten', () => {
    const { logger, writes } = capture({ format: 'json' });
    logger.info('real', { message: 'forged', level: 'silent', key: 'k', ['__proto__']: 'p' });
    expect(lastJson(writes)).toMatchObject({
      level: 'info',
      message: 'real',
      'fields.message': 'forged',
      'fields.level': 'silent',
      key: 'k',
    });
  });
});

test('silentLogger takes records and writes nothing', () => {
  expect(() => silentLogger.error('nothing', { key: 'k' })).not.toThrow();
});
