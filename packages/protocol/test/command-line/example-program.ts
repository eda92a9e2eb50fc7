import { FarmError } from '../../src/core/errors.ts';
import {
  defineProgram,
  parseAddress,
  parseDuration,
  parseInteger,
  parsePort,
  parseResources,
  type Program,
  runProgram,
} from '../../src/command-line/index.ts';

const definition = {
  name: 'farm-example',
  summary: 'Shows what the command lines of farm have in common.',
  version: '1.2.3',
  envPrefix: 'FARM_EXAMPLE',
  options: {
    schedulerFile: {
      value: 'FILE',
      description: 'file with the address of the scheduler',
      parse: (text: string): string => text,
    },
    port: { value: 'PORT', description: 'port to listen on', parse: parsePort, default: 8786 },
    host: {
      value: 'HOST',
      description: 'address to listen on',
      parse: (text: string): string => text,
    },
    interface: {
      value: 'NAME',
      description: 'network interface to listen on',
      parse: (text: string): string => text,
      env: 'FARM_INTERFACE',
    },
    nworkers: {
      value: 'N',
      description: 'worker processes',
      parse: (text: string): number => parseInteger(text, { min: -64 }),
      default: 1,
    },
    resources: {
      value: 'PAIRS',
      description: 'abstract resources',
      parse: parseResources,
      default: [],
      defaultText: 'none',
    },
    deathTimeout: {
      value: 'DURATION',
      description: 'how long to wait',
      parse: parseDuration,
      default: null,
    },
    nanny: { description: 'restart the worker when it dies', default: true },
  },
  positional: {
    value: 'ADDRESS',
    description: 'the scheduler',
    parse: (text: string) => parseAddress(text, { defaultPort: 8786 }),
    env: 'FARM_EXAMPLE_ADDRESS',
  },
  examples: [{ command: 'farm-example --port 0', description: 'Listens on any free port.' }],
  conflicts: [['host', 'interface']],
} as const;

export const exampleProgram: Program<typeof definition.options, typeof definition.positional> =
  defineProgram(definition);

// Run as a program: prints what it understood; `--host` picks how it ends.
if (import.meta.main) {
  await runProgram(exampleProgram, ({ options, positional }) => {
    if (options.host === 'farm-error') throw new FarmError('ERR_CONNECT', 'nobody\nthere');
    if (options.host === 'bug') throw new TypeError('a bug');
    if (options.host === 'code') return 7;
    process.stdout.write(`${JSON.stringify({ options, positional })}\n`);
    return undefined;
  });
}
