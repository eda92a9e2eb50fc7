/**
 * A holder as a process of its own: `holder-process.ts <directory> <bytes> [in-file]`. Holds one value, that
 * of `aValue`, as task 1 and says where. Ends with its standard input.
 */
import { DataServer } from '../../../src/shell/data/data-server.ts';
import { openHostMemory } from '../../../src/shell/data/host-memory/open-host-memory.ts';
import { Store } from '../../../src/shell/data/store.ts';
import { silentLogger } from '@farm/protocol';

import { aFileValue } from '../memory-files/file-values.ts';
import { aValue } from './values.ts';

const [, , localDirectory = '', bytes = '', place] = process.argv;
const store = new Store();
store.set(1, place === 'in-file' ? aFileValue(Number(bytes)) : aValue(Number(bytes)));
const server = await DataServer.listen({
  host: '127.0.0.1',
  ports: [0],
  contactHost: '127.0.0.1',
  token: 'worker-token',
  workerName: 'holder',
  version: '0.0.0',
  id: `holder-${process.pid}`,
  localDirectory,
  store: () => store,
  openHostMemory,
  logger: silentLogger,
});
console.log(server.address);
process.stdin.on('end', () => process.exit()).resume();
