import { describe, expect, expectTypeOf, test } from 'vitest';

import type { Address } from '../../src/address.ts';
import { HelpRequested, UsageError } from '../../src/command-line/index.ts';
import { refusal } from '../refusal.ts';
import { exampleProgram } from './example-program.ts';

type Env = Record<string, string>;

function parse(argv: readonly string[], env: Env = {}) {
  return exampleProgram.parse(argv, env);
}

function usageError(argv: readonly string[], env: Env = {}): string {
  const error = refusal(() => parse(argv, env));
  expect(error).toBeInstanceOf(UsageError);
  expect(error).toMatchObject({ code: 'ERR_ARGUMENT', exitCode: 2 });
  expect(error.message).not.toMatch(/[\r\n]/);
  return error.message;
}

function helpFor(argv: readonly string[], env: Env = {}): string {
  try {
    parse(argv, env);
  } catch (error) {
    if (error instanceof HelpRequested) return error.text;
    throw error;
  }
  throw new Error('no help');
}

describe('parsing', () => {
  test('takes --flag value and --flag=value alike', () => {
    for (const argv of [
      ['--port', '6192', '--scheduler-file', 's.json', '--nworkers', '-1'],
      ['--port=6192', '--scheduler-file=s.json', '--nworkers=-1'],
    ]) {
      expect(parse(argv).options).toMatchObject({
        port: 6192,
        schedulerFile: 's.json',
        nworkers: -1,
      });
    }
  });

  test('keeps an equals sign inside a value', () => {
    expect(parse(['--resources=GPU=2 MEM=10e9']).options.resources).toEqual([
      ['GPU', 2],
      ['MEM', 10e9],
    ]);
  });

  test('gives defaults, and infers the types of the values', () => {
    const { options, positional } = parse([]);
    expect(options).toEqual({
      schedulerFile: undefined,
      port: 8786,
      host: undefined,
      interface: undefined,
      nworkers: 1,
      resources: [],
      deathTimeout: null,
      nanny: true,
    });
    expect(positional).toBeUndefined();
    expectTypeOf(options.port).toEqualTypeOf<number>();
    expectTypeOf(options.schedulerFile).toEqualTypeOf<string | undefined>();
    expectTypeOf(options.deathTimeout).toEqualTypeOf<number | null>();
    expectTypeOf(options.nanny).toEqualTypeOf<boolean>();
    expectTypeOf(positional).toEqualTypeOf<Address | undefined>();
  });

  test('takes an argument without flag anywhere among the options', () => {
    const address = { secure: false, host: 'h', port: 1 };
    for (const argv of [
      ['tcp://h:1', '--port', '0'],
      ['--port', '0', 'tcp://h:1'],
      ['--port=0', '--', 'tcp://h:1'],
    ]) {
      const parsed = parse(argv);
      expect(parsed.positional).toEqual(address);
      expect(parsed.options.port).toBe(0);
    }
  });

  test('turns a switch off and on', () => {
    expect(parse(['--no-nanny']).options.nanny).toBe(false);
    expect(parse(['--nanny']).options.nanny).toBe(true);
  });

  test('can be done any number of times', () => {
    expect(parse(['--port', '1']).options.port).toBe(1);
    expect(parse(['--port', '2']).options.port).toBe(2);
    expect(parse([]).options.port).toBe(8786);
  });

  test('takes a value that looks like an option where it is joined on', () => {
    expect(parse(['--scheduler-file=--odd']).options.schedulerFile).toBe('--odd');
  });
});

describe('environment', () => {
  test('has a twin of every option, which the command line overrules', () => {
    const env = {
      FARM_EXAMPLE_PORT: '1',
      FARM_EXAMPLE_SCHEDULER_FILE: 'e.json',
      FARM_INTERFACE: 'ib0',
      FARM_EXAMPLE_NANNY: 'no',
      FARM_EXAMPLE_ADDRESS: 'e:9',
    };
    const fromEnv = parse([], env);
    expect(fromEnv.options).toMatchObject({
      port: 1,
      schedulerFile: 'e.json',
      interface: 'ib0',
      nanny: false,
    });
    expect(fromEnv.positional).toEqual({ secure: false, host: 'e', port: 9 });
    const both = parse(['--port', '2', '--nanny', 'f:8'], env);
    expect(both.options).toMatchObject({ port: 2, nanny: true });
    expect(both.positional).toEqual({ secure: false, host: 'f', port: 8 });
    expect(both.source('port')).toBe('command line');
    expect(both.source('schedulerFile')).toBe('environment');
    expect(both.source('nworkers')).toBe('default');
  });

  test('counts an empty variable as absent', () => {
    const { options, positional } = parse([], { FARM_EXAMPLE_PORT: '', FARM_EXAMPLE_ADDRESS: ' ' });
    expect(options.port).toBe(8786);
    expect(positional).toBeUndefined();
  });

  test('a broken variable is named, unless the command line overrules it', () => {
    const env = { FARM_EXAMPLE_PORT: 'http' };
    expect(usageError([], env)).toBe(
      'FARM_EXAMPLE_PORT (environment): "http" is not a port, a whole number 0 to 65535',
    );
    expect(parse(['--port', '3'], env).options.port).toBe(3);
    expect(usageError([], { FARM_EXAMPLE_NANNY: 'maybe' })).toBe(
      'FARM_EXAMPLE_NANNY (environment): "maybe" is neither true nor false',
    );
    expect(usageError([], { FARM_EXAMPLE_ADDRESS: 'http://h' })).toMatch(/^FARM_EXAMPLE_ADDRESS /);
  });

  test('is not misled by the variables Kubernetes sets for a service of the same name', () => {
    const service = {
      FARM_EXAMPLE_PORT: 'tcp://10.0.0.1:8786',
      FARM_EXAMPLE_SERVICE_HOST: '10.0.0.1',
    };
    expect(parse([], service).options.port).toBe(8786);
    expect(usageError([], { FARM_EXAMPLE_PORT: 'tcp://10.0.0.1:8786' })).toContain('is not a port');
  });
});

describe('help and version', () => {
  test('help shows summary, usage, options, defaults, environment and examples', () => {
    const help = exampleProgram.help(100);
    expect(helpFor(['--help'])).toBe(exampleProgram.help());
    expect(helpFor(['-h'])).toBe(exampleProgram.help());
    expect(help).toContain('Usage: farm-example [options] [ADDRESS]');
    expect(help).toContain('Shows what the command lines of farm have in common.');
    expect(help).toContain('--scheduler-file <FILE>');
    expect(help).toMatch(
      /--port <PORT> +port to listen on \(default: 8786, env: FARM_EXAMPLE_PORT\)/,
    );
    expect(help).toMatch(/--\[no-\]nanny +restart the worker when it dies \(default: true,/);
    expect(help).toMatch(/--resources <PAIRS> +abstract resources \(default: none,/);
    expect(help).toContain('env: FARM_EXAMPLE_ADDRESS');
    expect(help).toMatch(/Examples:\n {2}farm-example --port 0\n {6}Listens on any free port\.\n$/);
    expect(help).not.toContain('\u001b');
    expect(help).not.toContain('null');
    for (const line of help.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
  });

  test('help is given even where the rest is broken', () => {
    expect(helpFor(['---interface', 'ib0', '--help'])).toContain('Usage:');
    expect(helpFor(['--port', 'http', '--help'])).toContain('Usage:');
    expect(helpFor(['--help'], { FARM_EXAMPLE_PORT: 'http' })).toContain('Usage:');
  });

  test('version is name and version', () => {
    expect(helpFor(['--version'])).toBe('farm-example 1.2.3\n');
  });
});

describe('refusals are one line that names the flag', () => {
  test.each([
    [['---interface', 'ib0'], 'unknown option ---interface, did you mean --interface?'],
    [['---interface=ib0'], 'unknown option ---interface, did you mean --interface?'],
    [['-interface', 'ib0'], 'unknown option -interface, did you mean --interface?'],
    [['–interface', 'ib0'], 'unknown option –interface, did you mean --interface?'],
    [['—port=1'], 'unknown option —port, did you mean --port?'],
    [['--Port', '1'], 'unknown option --Port, did you mean --port?'],
    [['--scheduler_file', 'f'], 'unknown option --scheduler_file, did you mean --scheduler-file?'],
    [['--sched', 'f'], 'unknown option --sched, did you mean --scheduler-file?'],
    [['--prot', '1'], 'unknown option --prot, did you mean --port?'],
    [['--nworker', '1'], 'unknown option --nworker, did you mean --nworkers?'],
    [['--no-nany'], 'unknown option --no-nany, did you mean --no-nanny?'],
    [['--xyzzy'], 'unknown option --xyzzy; farm-example --help lists the options'],
    [['-x'], 'unknown option -x; farm-example --help lists the options'],
    [['--a b'], 'unknown option "--a b"; farm-example --help lists the options'],
    [['--nanny=false'], '--nanny takes no value'],
    [['--port'], '--port needs a value'],
    [['--port='], '--port needs a value, got an empty one'],
    [['--port', ' '], '--port needs a value, got an empty one'],
    [['--port', '--host', 'h'], '--port needs a value, got the option --host'],
    [['--port', '1', '--port', '2'], '--port is given twice, keep one'],
    [['--port', '1', '--port=1'], '--port is given twice, keep one'],
    [['--nanny', '--no-nanny'], '--nanny and --no-nanny contradict each other, keep one'],
    [['--host', 'h', '--interface', 'i'], '--host and --interface exclude each other, keep one'],
    [['--port', '65536'], '--port: "65536" is not a port, a whole number 0 to 65535'],
    [['--nworkers', '1e400'], '--nworkers: "1e400" is not a whole number of at least -64'],
    [['--nworkers', 'NaN'], '--nworkers: "NaN" is not a whole number of at least -64'],
    [
      ['--nworkers', '99999999999999999999'],
      '--nworkers: "99999999999999999999" is not a whole number of at least -64',
    ],
    [['--resources', 'GPU=x'], '--resources: "GPU=x": amount must be a number, for example GPU=1'],
    [
      ['--death-timeout', '5 parsecs'],
      '--death-timeout: "5 parsecs" is not a duration, "parsecs" is not a unit; for example 60, 60s, 500ms, 5 minutes',
    ],
    [['a:1', 'b:2'], 'unexpected argument "b:2" after the ADDRESS'],
    [
      ['http://h'],
      'ADDRESS: "http://h" is not an address: its scheme "http" is not one of tcp, tls, ws, wss; for example tcp://host:8786 or [::1]:8786',
    ],
    [['--host', 'caf\ufffd'], '"caf\ufffd" is not valid UTF-8'],
    [['--port', '1\n2'], '--port: "1\\n2" is not a port, a whole number 0 to 65535'],
  ])('%j', (argv, message) => {
    expect(usageError(argv)).toBe(message);
  });

  test('an option on the command line overrules one in the environment that it excludes', () => {
    const { options } = parse(['--host', 'h'], { FARM_INTERFACE: 'ib0' });
    expect(options).toMatchObject({ host: 'h', interface: undefined });
    expect(usageError([], { FARM_EXAMPLE_HOST: 'h', FARM_INTERFACE: 'ib0' })).toBe(
      'FARM_EXAMPLE_HOST and FARM_INTERFACE exclude each other, keep one',
    );
  });
});
